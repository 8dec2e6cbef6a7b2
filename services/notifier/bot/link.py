"""Lets other threads use the bot's connection to Discord while this replica leads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from typing import TypeVar

from services.notifier.bot.answers import AttachedFile
from services.notifier.bot.client import TOKEN_REFUSED, TokenRefused
from services.notifier.bot.rest import DiscordRest
from services.notifier.channels.base import ChannelBusy, ChannelUncertain
from services.notifier.texts.content import Content

R = TypeVar("R")
MakeFiles = Callable[[Content], Awaitable[list[AttachedFile]]]


async def _no_files(_: Content) -> list[AttachedFile]:
    return []


class BotLink:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rest: DiscordRest | None = None
        self._files: MakeFiles = _no_files
        self._refused = asyncio.Event()

    def open(self, loop: asyncio.AbstractEventLoop, rest: DiscordRest, files: MakeFiles) -> None:
        """Called in `loop`. `files` makes the files that a notification shows."""
        with self._lock:
            self._loop, self._rest, self._files, self._refused = loop, rest, files, asyncio.Event()

    def close(self) -> None:
        with self._lock:
            self._loop = self._rest = None

    def report_refused(self) -> None:
        """Discord refused the token: the connection ends, and nothing is sent until a login succeeds."""
        with self._lock:
            loop, refused = self._loop, self._refused
            self._loop = self._rest = None
        if loop is not None:
            loop.call_soon_threadsafe(refused.set)

    async def refusal(self) -> None:
        """Wait for `report_refused`, in the loop. Raises TokenRefused then."""
        await self._refused.wait()
        raise TokenRefused(TOKEN_REFUSED)

    def is_open(self) -> bool:
        """Whether this replica leads and Discord accepts its token."""
        return self._rest is not None

    async def files_of(self, content: Content) -> list[AttachedFile]:
        """The files that a notification shows, in the loop."""
        return await self._files(content)

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
