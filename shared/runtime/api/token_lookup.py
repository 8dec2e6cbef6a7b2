"""Finds tokens in the database for requests that are not authenticated yet.

Strangers can send any number of tokens, so the lookups use a connection of their own and no worker thread of requests:
all tokens that wait are looked up with one query. No token is kept, so a revocation takes effect at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from datetime import datetime
from typing import NamedTuple

import anyio
import anyio.to_thread

from shared.ops.tokens import Token

# How long an id that does not exist is answered from memory. Ids are random, so none is created in the meantime.
UNKNOWN_S = 5.0
MAX_UNKNOWN = 1024


class DatedToken(NamedTuple):
    """A token and the database's clock."""

    token: Token
    now: datetime


LoadTokens = Callable[[Collection[str]], dict[str, DatedToken]]
"""Loads the tokens with these ids. Raises TransientError."""


class TokenLookup:
    """Used by one event loop."""

    def __init__(self, load: LoadTokens, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._waiting: dict[str, asyncio.Future[DatedToken | None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._limiter: anyio.CapacityLimiter | None = None
        self._unknown: OrderedDict[str, float] = OrderedDict()

    async def find(self, token_id: str) -> DatedToken | None:
        """The token, as it is after this call; None if there is none. Raises TransientError."""
        if self._is_unknown(token_id):
            return None
        loop = asyncio.get_running_loop()
        future = self._waiting.setdefault(token_id, loop.create_future())
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work())
        return await asyncio.shield(future)

    async def _work(self) -> None:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(1)
        while self._waiting:
            batch, self._waiting = self._waiting, {}
            try:
                tokens = await anyio.to_thread.run_sync(self._load, list(batch), limiter=self._limiter)
            except Exception as error:  # noqa: BLE001  # raised by each request that waits
                for future in batch.values():
                    future.set_exception(error)
                    future.exception()  # a client that went away must not make it an unhandled one
                continue
            for token_id, future in batch.items():
                if token_id not in tokens:
                    self._note_unknown(token_id)
                future.set_result(tokens.get(token_id))

    def _is_unknown(self, token_id: str) -> bool:
        noted_s = self._unknown.get(token_id)
        return noted_s is not None and self._clock() - noted_s < UNKNOWN_S

    def _note_unknown(self, token_id: str) -> None:
        self._unknown[token_id] = self._clock()
        self._unknown.move_to_end(token_id)
        while len(self._unknown) > MAX_UNKNOWN:
            self._unknown.popitem(last=False)
