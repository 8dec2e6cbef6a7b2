"""The bot as a channel of the sender: sends embeds, finds what was sent before, edits messages.

A destination is `channel/ID` or `user/ID`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from services.notifier.bot.answers import MAX_DESCRIPTION, AttachedFile
from services.notifier.bot.client import TokenRefused
from services.notifier.bot.interaction import custom_id
from services.notifier.bot.link import BotLink
from services.notifier.bot.messages import details_body, mark_of, notification_body, thread_name
from services.notifier.bot.rest import ArchivedThread, DiscordRest, PersonBlocks, UnknownMessage, UnknownTarget
from services.notifier.channels.base import ChannelBusy, ChannelRefused, Message, Receipt
from services.notifier.pacing import RateLimit
from services.notifier.texts.content import Content

R = TypeVar("R")

SEND_LIMIT_S = 20.0
# Discord bans an address after 10,000 invalid requests in 10 minutes; a wrong channel id must not come near that.
# Of these, one destination may cause 50, so that it does not stop the others.
MAX_INVALID, MAX_INVALID_OF_ONE, INVALID_WINDOW_S = 1_000, 50, 600.0
# A refused token is noticed by the connection too, which then ends; until then the sender waits.
REFUSED_WAIT_S = 30.0
log = structlog.get_logger("notifier.bot")


class InvalidRequests:
    """Counts requests that Discord called invalid within the window. Times are seconds of a monotonic clock."""

    def __init__(
        self, limit: int = MAX_INVALID, limit_of_one: int = MAX_INVALID_OF_ONE, window_s: float = INVALID_WINDOW_S
    ) -> None:
        self._limit = limit
        self._limit_of_one = limit_of_one
        self._window_s = window_s
        self._requests: deque[tuple[float, str]] = deque()

    def record(self, destination: str, now_s: float) -> None:
        self._requests.append((now_s, destination))

    def wait_s(self, destination: str, now_s: float) -> float:
        """Seconds until the next request to the destination may be made; 0 if it may be made now."""
        while self._requests and self._requests[0][0] <= now_s - self._window_s:
            self._requests.popleft()
        every = [at_s for at_s, _ in self._requests]
        own = [at_s for at_s, each in self._requests if each == destination]
        full = [times for times, limit in ((every, self._limit), (own, self._limit_of_one)) if len(times) >= limit]
        return max((times[0] + self._window_s - now_s for times in full), default=0.0)


class BotChannel:
    """`on_blocked(person_id)` is called when a person does not accept direct messages."""

    name = "discord-bot"
    # Discord allows 5 messages in 5 s for each channel, and 50 requests a second for each bot.
    rate = RateLimit(burst=5, per_s=1)
    # A burst becomes a digest, which fits into the description of an embed.
    pace = RateLimit(burst=5, per_s=0.2)
    max_digest_length = MAX_DESCRIPTION - 96
    # Discord ignores a repeated nonce for "a few minutes".
    ignores_repeats_s = 120.0

    def __init__(
        self, link: BotLink, on_blocked: Callable[[int], None], invalid: InvalidRequests | None = None
    ) -> None:
        self._link = link
        self._on_blocked = on_blocked
        self._invalid = invalid or InvalidRequests()

    def available(self) -> bool:
        return self._link.is_open()

    def send(self, message: Message) -> Receipt:
        mark = mark_of(message.message_id)

        async def work(rest: DiscordRest) -> int:
            channel_id = await _channel_of(rest, message.destination)
            content = message.content or Content()
            files = await self._link.files_of(content)
            body = _body_of(message, mark, _picture_in(files))
            return await rest.create_message(channel_id, body, mark, files, message.deadline_s)

        message_id = self._call(message, work)
        try:
            self._show_details(message, message_id)
        except (ChannelBusy, ChannelRefused) as error:
            # The message itself is sent. Its next edit shows the details.
            log.warning("bot_details_missing", rule=message.rule, error=str(error))
        return Receipt(str(message_id))

    def find(self, message: Message) -> Receipt | None:
        """Search the channel for the message of an earlier attempt."""

        async def work(rest: DiscordRest) -> int | None:
            return await rest.find_message(await _channel_of(rest, message.destination), mark_of(message.message_id))

        message_id = self._call(message, work)
        return None if message_id is None else Receipt(str(message_id))

    def edit(self, external_id: str, message: Message) -> None:
        body = _body_of(message, mark_of(message.message_id))

        async def work(rest: DiscordRest) -> None:
            await rest.edit_message(await _channel_of(rest, message.destination), int(external_id), body)

        self._call(message, work)
        self._show_details(message, int(external_id))

    def _show_details(self, message: Message, message_id: int) -> None:
        """Write the details into the message's thread, or replace them there."""
        details = message.content.details if message.content else ""
        if not details or _person_of(message.destination) is not None:
            return
        mark = mark_of(f"{message.message_id}/details")
        body = details_body(details, mark)

        async def work(rest: DiscordRest) -> None:
            channel_id = await _channel_of(rest, message.destination)
            # The thread of a message has the message's id.
            try:
                shown = await rest.find_message(message_id, mark)
            except UnknownTarget:
                await rest.open_thread(channel_id, message_id, thread_name(message.text))
                shown = None
            if shown is None:
                await rest.create_message(message_id, body, nonce=mark)
                return
            try:
                await rest.edit_message(message_id, shown, body)
            except ArchivedThread:
                await rest.reopen_thread(message_id)
                await rest.edit_message(message_id, shown, body)

        self._call(message, work)

    def _call(self, message: Message, work: Callable[[DiscordRest], Awaitable[R]]) -> R:
        wait_s = self._invalid.wait_s(message.destination, time.monotonic())
        if wait_s > 0:
            raise ChannelBusy("Discord refused too many requests; check channels and permissions", wait_s)
        try:
            return self._link.call(work, SEND_LIMIT_S)
        except TokenRefused as error:
            # The message is not at fault: it waits for a new token.
            self._link.report_refused()
            raise ChannelBusy(str(error), REFUSED_WAIT_S) from None
        except PersonBlocks:
            self._invalid.record(message.destination, time.monotonic())
            person = _person_of(message.destination)
            if person is not None:
                self._on_blocked(person)
            raise
        except UnknownMessage:
            raise  # Discord does not count it, and people may delete many messages at once
        except ChannelRefused:
            self._invalid.record(message.destination, time.monotonic())
            raise


def _body_of(message: Message, mark: str, picture: str | None = None) -> dict[str, object]:
    """A direct message has a button that ends all of its rule."""
    content = message.content or Content()
    if _person_of(message.destination) is not None:
        content = content.model_copy(update={"actions": (*content.actions, custom_id("unsubscribe", message.rule))})
    return notification_body(message.text, message.parts, content, message.event_key, mark, picture)


def _picture_in(files: Sequence[AttachedFile]) -> str | None:
    return next((file.name for file in files if file.name.endswith(".png")), None)


def _person_of(destination: str) -> int | None:
    kind, _, number = destination.partition("/")
    return int(number) if kind == "user" else None


async def _channel_of(rest: DiscordRest, destination: str) -> int:
    person = _person_of(destination)
    return int(destination.partition("/")[2]) if person is None else await rest.direct_channel(person)
