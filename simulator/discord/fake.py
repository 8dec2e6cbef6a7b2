"""A simulated Discord for tests: starts it, plays its people, plans faults and says what the bot did.

with FakeDiscord() as fake:
    ...  # start a bot with fake.token, fake.api_url and fake.gateway_url
    ana = fake.person("Ana Operator")
    interaction = fake.slash(ana, fake.channel("operations"), "/status")
    fake.wait_for(lambda: interaction.content)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

from simulator.discord import people
from simulator.discord.api.injection import DiscordFaults
from simulator.discord.api.server import DiscordServer
from simulator.discord.command_rules import OptionValue
from simulator.discord.errors import Payload
from simulator.discord.fake_interaction import FakeInteraction
from simulator.discord.guild import MEMBER_PERMISSIONS, ChatChannel, ChatUser, GuildRole
from simulator.discord.interactions import FIRST_ANSWER_S, InteractionRecord
from simulator.discord.messages import PostedMessage
from simulator.discord.rate_limits import RateLimits
from simulator.discord.request_log import LoggedRequest
from simulator.discord.simulation import HEARTBEAT_S, DiscordSimulation
from simulator.discord.state import NONCE_S, ChannelWebhook, DiscordState

# It has the form of a bot's token, and opens nothing.
TOKEN = "MTQ1NTk5NDc1NTgxNDQwMDAwMg.Simula.made-up-token-of-the-simulated-discord"  # noqa: S105
DEADLINE_S = 120.0

T = TypeVar("T")


class FakeDiscord:
    """`first_answer_s`, `nonce_s`: Discord's limits; give longer ones on a slow machine.

    `rate_limits`: whether there are any. `faults` makes it fail.
    """

    def __init__(
        self,
        port: int = 0,
        token: str = TOKEN,
        first_answer_s: float = FIRST_ANSWER_S,
        nonce_s: float = NONCE_S,
        heartbeat_s: float = HEARTBEAT_S,
        rate_limits: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._changed = threading.Condition()
        state = DiscordState(clock, token, first_answer_s=first_answer_s, nonce_s=nonce_s)
        self.simulation = DiscordSimulation(
            state, RateLimits(rate_limits), heartbeat_s=heartbeat_s, on_change=self._notify
        )
        self.server = DiscordServer(self.simulation, port)
        self.faults = DiscordFaults(self.server)

    def __enter__(self) -> FakeDiscord:
        self.server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.stop()

    # Where it is.

    @property
    def url(self) -> str:
        """The page's address."""
        return self.server.url

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/v10"

    @property
    def gateway_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/gateway"

    @property
    def token(self) -> str:
        return self.simulation.state.token

    @property
    def guild_id(self) -> int:
        return self.simulation.state.guild.id

    @property
    def application_id(self) -> int:
        return self.simulation.state.guild.application_id

    # Who and what is there.

    def person(self, name: str, roles: Sequence[str] = (), is_member: bool = True) -> ChatUser:
        """The person of this name, created if needed, with these roles if any are given (created if needed)."""

        def find() -> ChatUser:
            guild = self.simulation.state.guild
            person = guild.person_named(name)
            if person is None:
                person = ChatUser(self.simulation.state.next_id(), name, is_member=is_member)
                guild.people[person.id] = person
            if roles:
                person.role_ids = tuple(self._role(each).id for each in roles)
            return person

        return self.server.call(find)

    def role(self, name: str) -> GuildRole:
        return self.server.call(lambda: self._role(name))

    def channel(self, name: str) -> ChatChannel:
        """The text channel of this name, created if needed."""

        def find() -> ChatChannel:
            state = self.simulation.state
            try:
                return state.guild.channel_named(name)
            except StopIteration:
                channel = ChatChannel(state.next_id(), name, position=len(state.guild.channels))
                state.guild.channels[channel.id] = channel
                state.emit("CHANNEL_CREATE", channel.payload(state.guild.id), channel)
                return channel

        return self.server.call(find)

    def direct(self, person: ChatUser) -> ChatChannel:
        """The direct messages of a person with the bot."""
        return self.server.call(lambda: self.simulation.state.direct_channel(person.id))

    def webhook(self, channel: ChatChannel, name: str = "Webhook") -> ChannelWebhook:
        """A new webhook of a channel."""

        def create() -> ChannelWebhook:
            state = self.simulation.state
            webhook = ChannelWebhook(state.next_id(), "made-up-token-of-a-webhook-" + "x" * 41, channel, name)
            state.webhooks[webhook.id] = webhook
            return webhook

        return self.server.call(create)

    def commands(self) -> list[Payload]:
        """The slash commands that people see in the guild's channels."""
        channel = self.channel("general")
        return self.server.call(lambda: people.commands_for(self.simulation.state, channel))

    # What people do.

    def slash(
        self, person: ChatUser, channel: ChatChannel, text: str, options: Mapping[str, OptionValue] | None = None
    ) -> FakeInteraction:
        """Send a command, for example `/status` or `/dead-letters redrive`. Raises ValueError if it is not valid."""
        return self._interaction(lambda state: people.use_command(state, person, channel, text, options or {}))

    def autocomplete(
        self, person: ChatUser, channel: ChatChannel, text: str, options: Mapping[str, OptionValue], focused: str
    ) -> FakeInteraction:
        """Request the completions of the option `focused`, whose value so far is in `options`."""
        return self._interaction(lambda state: people.use_command(state, person, channel, text, options, focused))

    def click(
        self, person: ChatUser, message: PostedMessage, custom_id: str, values: list[str] | None = None
    ) -> FakeInteraction:
        """Use a button or a menu of a message. Raises ValueError if the message has none with this id."""
        return self._interaction(lambda state: people.use_component(state, person, message, custom_id, values))

    def say(self, person: ChatUser, channel: ChatChannel, text: str) -> PostedMessage:
        return self.server.call(lambda: people.write(self.simulation.state, person, channel, text))

    def block(self, person: ChatUser, blocks: bool = True) -> None:
        """The person does not accept direct messages of the bot."""
        self.server.call(lambda: setattr(person, "blocks_bot", blocks))

    def deny(self, channel: ChatChannel, *permissions: str) -> None:
        """The bot lacks these permissions in the channel (see `PERMISSION_BITS`); without any it has all again."""
        self.server.call(lambda: setattr(channel, "denied", set(permissions)))

    # What the bot did.

    def messages(self, channel: ChatChannel, viewer: ChatUser | None = None) -> list[PostedMessage]:
        """Oldest first. With `viewer` also the ephemeral messages that this person sees."""
        return self.server.call(lambda: self.simulation.state.messages_in(channel, viewer))

    def edits(self, message: PostedMessage) -> list[Payload]:
        """The message as it was before each edit, oldest first."""
        return list(message.history)

    def payload(self, message: PostedMessage) -> Payload:
        """The message as the API returns it."""
        return self.server.call(lambda: message.payload(self.simulation.state.guild))

    def pings(self, message: PostedMessage) -> tuple[str, ...]:
        """Whom the message notified: `everyone`, `role:ID` and `user:ID`."""
        return message.mentions.pings

    def requests(self, pattern: str = "*") -> list[LoggedRequest]:
        """Requests whose "METHOD /path" matches (with * and ?), in order of arrival; the path is below /api/v10."""
        return self.server.call(lambda: self.simulation.log.matching(pattern))

    def invalid_requests(self) -> int:
        """Responses 401, 403 and 429: Discord blocks a client after 10,000 of them in 10 minutes."""
        return self.server.call(self.simulation.log.invalid)

    @property
    def is_connected(self) -> bool:
        """Whether a bot has a session on the gateway."""
        return bool(self.server.call(self.simulation.sessions.connected))

    def wait_for(
        self, condition: Callable[[], T | None], what: str = "the condition", deadline_s: float = DEADLINE_S
    ) -> T:
        """The first true value of the condition, which is checked after every change. Raises AssertionError."""
        end_s = time.monotonic() + deadline_s
        while True:
            if value := condition():
                return value
            if time.monotonic() >= end_s:
                raise AssertionError(f"{what} did not come true within {deadline_s:g} s")
            with self._changed:
                self._changed.wait(0.05)

    def _interaction(self, act: Callable[[DiscordState], InteractionRecord]) -> FakeInteraction:
        def run(action: Callable[[DiscordState], InteractionRecord]) -> InteractionRecord:
            return self.server.call(lambda: action(self.simulation.state))

        return FakeInteraction(run(act), run)

    def _role(self, name: str) -> GuildRole:
        state = self.simulation.state
        try:
            return state.guild.role_named(name)
        except StopIteration:
            role = GuildRole(state.next_id(), name, permissions=MEMBER_PERMISSIONS, mentionable=True)
            state.guild.roles[role.id] = role
            return role

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
