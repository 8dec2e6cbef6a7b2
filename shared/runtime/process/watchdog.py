"""Watches the threads of a process: ends it if its loop hangs, and names the background tasks that do not move.

After the end its supervisor restarts it, and the open unit is discarded.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Self

import structlog

from shared.runtime.exit_codes import CRASHED, Loop

# Far longer than any step of a healthy loop, which ticks after each poll, each handled batch and each commit.
HUNG_S = 60.0
# How often the loop is checked within HUNG_S. It counts as hung after this many checks without a tick.
LOOKS = 20

# A background task has stopped moving if it neither waits nor asks whether to stop for this long.
STILL_S = 60.0

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


class BackgroundWatch:
    """Knows the background tasks of a process that do not move. Thread-safe."""

    def __init__(self, still_s: float = STILL_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._still_s = still_s
        self._clock = clock
        self._stops: list[WatchedStop] = []

    def stop_of(self, name: str, stop: threading.Event) -> WatchedStop:
        """The event to pass to the background task of this name instead of `stop`."""
        watched = WatchedStop(self, name, stop, self._clock)
        self._stops.append(watched)
        return watched

    def problem(self) -> str:
        """Which tasks do not move, as text for people; empty if all do."""
        still = {name: still_s for name, still_s in self.still().items() if still_s > self._still_s}
        return "; ".join(
            f"the background task {name} has not moved for {still_s:.0f} s" for name, still_s in still.items()
        )

    def still(self) -> dict[str, float]:
        """For how long each task has not moved, in seconds, by name; 0 while it waits."""
        now_s = self._clock()
        seconds: dict[str, float] = {}
        for each in list(self._stops):
            seconds[each.name] = max(each.still_s(now_s), seconds.get(each.name, 0.0))
        return seconds


class WatchedStop(threading.Event):
    """The stop of one background task. Each use of it shows that the task moves, so tasks need no further calls."""

    def __init__(self, watch: BackgroundWatch, name: str, stop: threading.Event, clock: Callable[[], float]) -> None:
        super().__init__()
        self.name = name
        self._watch = watch
        self._stop = stop
        self._clock = clock
        # None: it waits, or its parts move instead.
        self._moved_at_s: float | None = clock()

    def still_s(self, now_s: float) -> float:
        """For how long it has not moved, in seconds; 0 while it waits."""
        moved_at_s = self._moved_at_s
        return 0.0 if moved_at_s is None else now_s - moved_at_s

    def part(self, name: str) -> WatchedStop:
        """The stop of one of the task's own threads. The task itself only waits for them."""
        self._moved_at_s = None
        return self._watch.stop_of(name, self._stop)

    def is_set(self) -> bool:
        self._moved_at_s = self._clock()
        return self._stop.is_set()

    def set(self) -> None:
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        self._moved_at_s = None
        try:
            return self._stop.wait(timeout)
        finally:
            self._moved_at_s = self._clock()


def part_of(stop: threading.Event, name: str) -> threading.Event:
    """The stop to pass to one of several threads of a background task, so that each of them is watched."""
    return stop.part(name) if isinstance(stop, WatchedStop) else stop
