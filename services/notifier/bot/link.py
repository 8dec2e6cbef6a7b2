"""Lets other threads use the bot's connection to Discord while this replica leads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from typing import TypeVar

from services.notifier.bot.rest import DiscordRest
from services.notifier.channels.base import ChannelBusy, ChannelUncertain

R = TypeVar("R")


class BotLink:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rest: DiscordRest | None = None

    def open(self, loop: asyncio.AbstractEventLoop, rest: DiscordRest) -> None:
        with self._lock:
            self._loop, self._rest = loop, rest

    def close(self) -> None:
        with self._lock:
            self._loop = self._rest = None

    def is_open(self) -> bool:
        """Whether this replica leads and Discord accepts its token."""
        return self._rest is not None

    def call(self, work: Callable[[DiscordRest], Awaitable[R]], limit_s: float) -> R:
        """Run `work` in the bot's loop and wait for it, from another thread.

        Raises ChannelBusy if this replica does not lead, and ChannelUncertain if there is no result after `limit_s`.
        """

        async def run(rest: DiscordRest) -> R:
            return await work(rest)

        with self._lock:
            if self._loop is None or self._rest is None:
                raise ChannelBusy("another replica of the notifier is the bot")
            pending = asyncio.run_coroutine_threadsafe(run(self._rest), self._loop)
        try:
            return pending.result(limit_s)
        except TimeoutError:
            pending.cancel()
            raise ChannelUncertain(f"Discord did not answer within {limit_s:g} s") from None
        except CancelledError:
            raise ChannelUncertain("the bot stopped while it waited for Discord") from None
