"""The bot as a channel of the sender: sends embeds, finds what was sent before, edits messages.

An address is `discord-bot/channel/ID` or `discord-bot/user/ID`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from services.notifier.bot.link import BotLink
from services.notifier.bot.messages import message_body
from services.notifier.bot.rest import DiscordRest
from services.notifier.channels.base import Message, Receipt
from services.notifier.pacing import RateLimit

R = TypeVar("R")

SEND_LIMIT_S = 20.0
# Discord bans an address after 10,000 invalid requests in 10 minutes; a wrong channel id must not come near that.
MAX_INVALID, INVALID_WINDOW_S = 50, 600.0
KIND = "discord-bot"


class InvalidRequests:
    """Counts requests that Discord called invalid within the window. Times are seconds of a monotonic clock."""

    def __init__(self, limit: int = MAX_INVALID, window_s: float = INVALID_WINDOW_S) -> None:
        self._limit = limit
        self._window_s = window_s
        self._at_s: deque[float] = deque()

    def record(self, now_s: float) -> None:
        self._at_s.append(now_s)

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next request may be made; 0 if it may be made now."""
        while self._at_s and self._at_s[0] <= now_s - self._window_s:
            self._at_s.popleft()
        return 0.0 if len(self._at_s) < self._limit else self._at_s[0] + self._window_s - now_s


class BotChannel:
    """`on_blocked(person_id)` is called when a person does not accept direct messages."""

    name = KIND
    # Discord allows 50 requests a second for each bot; discord.py keeps the limits of single channels.
    rate = RateLimit(burst=20, per_s=20)

    def __init__(self, link: BotLink, on_blocked: Callable[[int], None]) -> None:
        self._link = link
        self._on_blocked = on_blocked
        self._invalid = InvalidRequests()

    def available(self) -> bool:
        return self._link.is_open()

    def send(self, message: Message) -> Receipt:
        mark = mark_of(message.message_id)
        body = message_body(message, mark)

        async def work(rest: DiscordRest) -> int:
            channel_id = await _channel_of(rest, message.destination)
            message_id = await rest.create_message(channel_id, body, nonce=mark)
            return message_id

        message_id = self._call(message.destination, work)
        self._add_details(message, message_id)
        return Receipt(str(message_id))

    def find(self, message: Message) -> Receipt | None:
        """Search the channel for the message of an earlier attempt."""
        mark = mark_of(message.message_id)

        async def work(rest: DiscordRest) -> int | None:
            channel_id = await _channel_of(rest, message.destination)
            return await rest.find_message(channel_id, mark, message.recorded_at.timestamp())

        found = self._call(message.destination, work)
        return None if found is None else Receipt(str(found))

    def edit(self, external_id: str, message: Message) -> None:
        body = message_body(message, mark_of(message.message_id))

        async def work(rest: DiscordRest) -> None:
            channel_id = await _channel_of(rest, message.destination)
            await rest.edit_message(channel_id, int(external_id), body)

        self._call(message.destination, work)
        self._add_details(message, int(external_id))
