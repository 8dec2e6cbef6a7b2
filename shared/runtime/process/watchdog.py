"""Ends a process whose loop hangs. Its supervisor restarts it, and the open unit is discarded."""

from __future__ import annotations

import os
import threading
from typing import Self

import structlog

from shared.runtime.exit_codes import CRASHED, Loop

# Far longer than any step of a healthy loop, which ticks after each poll, each handled batch and each commit.
HUNG_S = 60.0
# How often the loop is checked within HUNG_S. It counts as hung after this many checks without a tick.
LOOKS = 20

log = structlog.get_logger(__name__)


class Watchdog:
    """Watches a loop within a `with` block.

    It counts its own checks instead of measuring time, so that a process that was suspended and continues does not
    count as hung.
    """

    def __init__(self, loop: Loop, hung_s: float = HUNG_S) -> None:
        self._loop = loop
        self._hung_s = hung_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _watch(self) -> None:
        last_tick, checks_without_tick = self._loop.ticked_at, 0
        while not self._ending.wait(self._hung_s / LOOKS):
            checks_without_tick = checks_without_tick + 1 if self._loop.ticked_at == last_tick else 0
            last_tick = self._loop.ticked_at
            if checks_without_tick >= LOOKS:
                log.error("loop_hung", hung_s=self._hung_s)
                os._exit(CRASHED)
