"""The simulated season that a test loads: its size, its days and its clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

JST = timezone(timedelta(hours=9), "JST")
FIRST = date(2026, 1, 1)


@dataclass(frozen=True)
class Span:
    """Days, both ends inclusive."""

    first: date
    last: date

    def next(self, days: int) -> Span:
        """The span that begins on the day after this one."""
        first = self.last + timedelta(days=1)
        return Span(first, first + timedelta(days=days - 1))

    def successors(self, days: int) -> Iterator[Span]:
        """The spans of so many days that follow one after the other."""
        span = self
        while True:
            yield (span := span.next(days))


@dataclass(frozen=True)
class Clock:
    """A virtual clock, see shared/clock.py."""

    start: datetime
    speed: float
    epoch_s: float

    def options(self) -> list[str]:
        """Of the simulator and of `headrace run`."""
        return [
            "--clock-start", self.start.isoformat(), "--clock-speed", repr(self.speed),
            "--clock-epoch", repr(self.epoch_s),
        ]  # fmt: skip

    def variables(self) -> dict[str, str]:
        """Of a service."""
        return {
            "HEADRACE_CLOCK__START": self.start.isoformat(),
            "HEADRACE_CLOCK__SPEED": repr(self.speed),
            "HEADRACE_CLOCK__EPOCH_S": repr(self.epoch_s),
        }


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=JST)


@dataclass(frozen=True)
class Season:
    """`venues` venues with twelve events each on every day from FIRST."""

    venues: int
    days: int

    def options(self) -> list[str]:
        return ["--from", FIRST.isoformat(), "--days", str(self.days), "--venues", str(self.venues)]
