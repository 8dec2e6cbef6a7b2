"""The whole state of the simulated Discord: everything that requests and people change.

Time comes from the given clock. Every change is reported to `listeners` as an event of Discord's gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.discord.default_guild import default_guild
from simulator.discord.errors import (
    CANNOT_SEND_TO_USER,
    INVALID_RECIPIENT,
    MISSING_ACCESS,
    MISSING_PERMISSIONS,
    UNKNOWN_CHANNEL,
    UNKNOWN_MESSAGE,
    UNKNOWN_WEBHOOK,
    ApiError,
    Payload,
)
from simulator.discord.guild import DIRECT, ChatChannel, ChatUser, Guild
from simulator.discord.interactions import FIRST_ANSWER_S, Interactions
from simulator.discord.messages import PostedMessage
from simulator.discord.snowflakes import SnowflakeSource, fixed_snowflake

NONCE_S = 180.0


@dataclass(frozen=True)
class GuildEvent:
    """An event of the gateway. `only_for`: the person whose page alone shows it; the gateway does not send it then."""

    name: str
    data: Payload
    channel: ChatChannel | None = None
    only_for: ChatUser | None = None


@dataclass(frozen=True)
class ChannelWebhook:
    id: int
    token: str
    channel: ChatChannel
    name: str


@dataclass
class DiscordState:
    """`token`: the bot's. `base_url`: the server's address, which attachments get; set when it listens."""

    clock: Callable[[], float]
    token: str
    guild: Guild = field(default_factory=default_guild)
    base_url: str = ""
    first_answer_s: float = FIRST_ANSWER_S
    nonce_s: float = NONCE_S
    ids: SnowflakeSource = field(default_factory=SnowflakeSource)
    messages: dict[int, PostedMessage] = field(default_factory=dict)
    deleted: list[PostedMessage] = field(default_factory=list)
    commands: dict[int | None, dict[int, Payload]] = field(default_factory=dict)
    webhooks: dict[int, ChannelWebhook] = field(default_factory=dict)
    nonces: dict[tuple[int, str], tuple[float, PostedMessage]] = field(default_factory=dict)
    listeners: list[Callable[[GuildEvent], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.interactions = Interactions(self.first_answer_s)

    def next_id(self) -> int:
        return self.ids.next(self.clock())

    def emit(
        self, name: str, data: Payload, channel: ChatChannel | None = None, only_for: ChatUser | None = None
    ) -> None:
        for listener in self.listeners:
            listener(GuildEvent(name, data, channel, only_for))

    def channel(self, channel_id: int, *permissions: str) -> ChatChannel:
        """A channel in which the bot has these permissions. Raises ApiError."""
        channel = self.guild.channels.get(channel_id)
        if channel is None:
            raise ApiError(UNKNOWN_CHANNEL)
        denied = self.denied(channel)
        if "view_channel" in denied:
            raise ApiError(MISSING_ACCESS)
        if channel.kind != DIRECT and not denied.isdisjoint(permissions):
            raise ApiError(MISSING_PERMISSIONS)
        return channel

    def denied(self, channel: ChatChannel) -> set[str]:
        """What the bot may not do in a channel; a thread has the rights of its channel."""
        parent = None if channel.parent_id is None else self.guild.channels.get(channel.parent_id)
        return channel.denied | (set() if parent is None else parent.denied)

    def message(self, channel: ChatChannel, message_id: int) -> PostedMessage:
        """Raises ApiError. Ephemeral messages are reached only through their interaction."""
        message = self.messages.get(message_id)
        if message is None or message.channel is not channel or message.is_ephemeral:
            raise ApiError(UNKNOWN_MESSAGE)
        return message

    def messages_in(self, channel: ChatChannel, viewer: ChatUser | None = None) -> list[PostedMessage]:
        """Oldest first. With `viewer` also the ephemeral messages that this person sees."""
        return [
            each
            for each in self.messages.values()
            if each.channel is channel and (not each.is_ephemeral or (viewer is not None and each.only_for is viewer))
        ]

    def direct_channel(self, person_id: int) -> ChatChannel:
        """The direct messages of a person and the bot, opened if needed. Raises ApiError for an unknown person."""
        person = self.guild.people.get(person_id)
        if person is None:
            raise ApiError(INVALID_RECIPIENT)
        for channel in self.guild.channels.values():
            if channel.person is person:
                return channel
        # The id depends on the person only, so it is the same after a restart.
        channel = ChatChannel(fixed_snowflake(1000) + (person.id & 0xFFFFF), person.name, DIRECT, person=person)
        if channel.id in self.guild.channels:
            channel.id = self.next_id()
        self.guild.channels[channel.id] = channel
        self.emit("CHANNEL_CREATE", channel.payload(self.guild.id), channel)
        return channel

    def check_recipient(self, channel: ChatChannel) -> None:
        """Raises ApiError if the person of these direct messages does not accept any of the bot."""
        person = channel.person
        if person is not None and (person.blocks_bot or not person.is_member):
            raise ApiError(CANNOT_SEND_TO_USER)

    def webhook(self, webhook_id: int, token: str) -> ChannelWebhook:
        webhook = self.webhooks.get(webhook_id)
        if webhook is None or webhook.token != token:
            raise ApiError(UNKNOWN_WEBHOOK)
        return webhook
