"""Clocks, real and virtual. Code whose decisions depend on the time gets a clock as an argument."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """The current instant in UTC, timezone-aware."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True)
class VirtualClock:
    """A clock that shows `start` at Unix time `epoch_s` and runs `speed` times as fast as the wall clock.

    now = start + speed * (wall clock - epoch_s), and `start` before the epoch. Two processes with the same three
    numbers show the same time, so that the simulator and the services agree on the day.
    """

    start: datetime
    speed: float
    epoch_s: float

    def now(self) -> datetime:
        return self.start + timedelta(seconds=max(0.0, self.speed * (time.time() - self.epoch_s)))


def later(clock: Clock, real_s: float) -> datetime:
    """What the clock shows after so many seconds of real time."""
    speed = clock.speed if isinstance(clock, VirtualClock) else 1.0
    return clock.now() + timedelta(seconds=real_s * speed)
