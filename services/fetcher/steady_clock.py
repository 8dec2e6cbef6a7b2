"""A clock that does not follow a jump of the wall clock until the server's clock agrees with it.

A wall clock that jumps forth by a day would close a day that is not over; one that jumps back would delay every wait by
a day. This clock continues at the pace of an elapsed time that never jumps. The `Date` header of the source's answers
is the second witness.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.clock import Clock, SystemClock

# A smaller difference of the wall clock, as when NTP corrects it, is followed at once.
MAX_STEP = timedelta(seconds=60)
# Clocks that differ by less agree. A server's clock is often some minutes wrong.
AGREEMENT = timedelta(minutes=10)
# A server whose clock differs by more is not believed: a wrong one could delay the end of a day without limit.
MAX_DISPUTE = timedelta(hours=36)
# Without any answer of a server, a jump that lasted so long is followed.
UNWITNESSED = timedelta(hours=24)


def steady(clock: Clock) -> Clock:
    """A SteadyClock over the machine's clock; a virtual clock as it is, because no server shows its time."""
    if not isinstance(clock, SystemClock):
        return clock
    # CLOCK_BOOTTIME of Linux includes the time during which the machine was suspended.
    return SteadyClock(clock, lambda: time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)))


class _Mark(NamedTuple):
    """A time, and the elapsed seconds at which it was the time."""

    at: datetime
    elapsed_s: float

    def carried_to(self, elapsed_s: float) -> datetime:
        return self.at + timedelta(seconds=elapsed_s - self.elapsed_s)


class SteadyClock:
    """A Clock for decisions of the fetcher. Thread-safe.

    `wall` may jump. `elapsed_s` is the clock that does not, in real seconds; it should include the time during which
    the machine was suspended.
    """

    def __init__(self, wall: Clock, elapsed_s: Callable[[], float]) -> None:
        self._wall = wall
        self._elapsed_s = elapsed_s
        self._lock = threading.Lock()
        self._anchor = _Mark(wall.now(), elapsed_s())
        self._jump: _Mark | None = None
        """The first reading of the wall clock after it jumped."""
        self._server: _Mark | None = None

    def now(self) -> datetime:
        with self._lock:
            return self._now(self._elapsed_s())

    def final_now(self) -> datetime:
        """The time that decides whether a day is over: the server's if it is behind, and within MAX_DISPUTE."""
        with self._lock:
            elapsed_s = self._elapsed_s()
            now = self._now(elapsed_s)
            server = now if self._server is None else self._server.carried_to(elapsed_s)
            return server if AGREEMENT < now - server <= MAX_DISPUTE else now

    def record_server_time(self, at: datetime) -> None:
        """The time that an answer of the source names. If the wall clock jumped and agrees with it, it is followed.

        A time that is far from both clocks is dropped: near the year 9999 it could not be carried on.
        """
        with self._lock:
            elapsed_s = self._elapsed_s()
            now, wall = self._now(elapsed_s), self._wall.now()
            if min(abs(at - now), abs(at - wall)) > MAX_DISPUTE:
                return
            self._server = _Mark(at, elapsed_s)
            if self._jump is not None and abs(at - wall) <= AGREEMENT < abs(at - now):
                self._follow(wall, elapsed_s)
            elif self._jump is not None and abs(at - now) <= AGREEMENT:
                self._jump = _Mark(wall, elapsed_s)  # the jump was wrong: it is not followed while answers say so

    def _now(self, elapsed_s: float) -> datetime:
        wall, carried = self._wall.now(), self._anchor.carried_to(elapsed_s)
        if abs(wall - carried) <= MAX_STEP:
            self._follow(wall, elapsed_s)
            return wall
        expected = None if self._jump is None else self._jump.carried_to(elapsed_s)
        if expected is None or abs(wall - expected) > MAX_STEP:
            self._jump = _Mark(wall, elapsed_s)
        elif self._jump is not None and elapsed_s - self._jump.elapsed_s >= UNWITNESSED.total_seconds():
            self._follow(wall, elapsed_s)
            return wall
        return carried

    def _follow(self, wall: datetime, elapsed_s: float) -> None:
        self._anchor, self._jump = _Mark(wall, elapsed_s), None
