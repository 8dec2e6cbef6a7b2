"""The time of day, real or virtual, passed in wherever a decision depends on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What a service asks for the time."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True)
class VirtualClock:
    """A clock that starts where it is told and runs `speed` times as fast as the wall clock.

    now = start + speed * (wall clock - epoch_s), and `start` before the epoch. Two processes given the same three
    numbers agree about the time, which is how a simulator and the services it feeds share a day.
    """

    start: datetime
    speed: float
    epoch_s: float

    def now(self) -> datetime:
        return self.start + timedelta(seconds=max(0.0, self.speed * (time.time() - self.epoch_s)))
