"""Which windows are due, and when. The time is an argument."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shared.backoff import Backoff

LONGEST_BACKOFF_S = 3600.0
DAY = timedelta(days=1)


class Window(NamedTuple):
    """One feed of one day, in the source's own time zone."""

    feed: str
    date: date

    def key(self, source: str) -> str:
        """Its name among the cursors."""
        return f"{source}/{self.feed}/{self.date.isoformat()}"


class Due(NamedTuple):
    """A window to fetch now. Historical: its day is over, and the document is the last one."""

    window: Window
    historical: bool


@dataclass(frozen=True)
class Plan:
    """What an operator asked for: days from `first` to `last`, inclusive; None leaves an end open.

    `follow`: go on with each new day as it comes. `recorded`: the source is an archive, all of its days are over
    whatever the clock says.
    """

    first: date | None = None
    last: date | None = None
    follow: bool = False
    recorded: bool = False

    def __post_init__(self) -> None:
        if self.recorded and (self.first is None or self.last is None):
            raise ValueError("an archive is read from a first to a last day")

    def follows(self, today: date) -> bool:
        """Whether the running day is part of it."""
        asked = self.follow or self.first is not None or self.last is not None
        after_first, before_last = self.first is None or self.first <= today, self.last is None or today <= self.last
        return asked and not self.recorded and after_first and before_last


def window_of(key: str, source: str) -> Window | None:
    """Of a cursor's name; None where it names no window of this source."""
    match key.split("/"):
        case [name, feed, day] if name == source:
            try:
                return Window(feed, date.fromisoformat(day))
            except ValueError:
                return None
    return None


def day_at(now: datetime, zone: ZoneInfo) -> date:
    """The source's own day."""
    return now.astimezone(zone).date()


def last_ended(now: datetime, zone: ZoneInfo, close_after_s: float) -> date:
    """The last day whose documents are final."""
    return day_at(now - timedelta(seconds=close_after_s), zone) - DAY


def windows_between(first: date, last: date, feeds: Sequence[str]) -> Iterator[Window]:
    """In date order, and within a day in the order the feeds are declared."""
    for number in range((last - first).days + 1):
        for feed in feeds:
            yield Window(feed, first + number * DAY)


def wait_s(attempts: int, every_s: float) -> float:
    """From a visit to the next one of the same window: longer with each failure in a row."""
    return Backoff(every_s, max(every_s, LONGEST_BACKOFF_S)).delay_s(max(1, attempts))
