"""Computes which windows are due and when. The time is an argument."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shared.backoff import Backoff

MAX_BACKOFF_S = 3600.0
DAY = timedelta(days=1)


class Window(NamedTuple):
    """One feed of one day, in the source's own time zone."""

    feed: str
    date: date

    def key(self, source: str) -> str:
        """The key of its cursor: SOURCE/FEED/YYYY-MM-DD."""
        return f"{source}/{self.feed}/{self.date.isoformat()}"


class DueWindow(NamedTuple):
    """A window to fetch now. `historical`: its day is over, so the document is final."""

    window: Window
    historical: bool


@dataclass(frozen=True)
class FetchPlan:
    """The days to fetch: from `first` to `last`, inclusive; None leaves an end open.

    `follow`: continue with each new day. `recorded`: the source is an archive, so all days are over whatever the clock
    shows.
    """

    first: date | None = None
    last: date | None = None
    follow: bool = False
    recorded: bool = False

    def __post_init__(self) -> None:
        if self.recorded and (self.first is None or self.last is None):
            raise ValueError("a recorded plan needs both `first` and `last`")

    def includes_today(self, today: date) -> bool:
        """Whether the plan includes the current day, `today`."""
        is_requested = self.follow or self.first is not None or self.last is not None
        after_first, before_last = self.first is None or self.first <= today, self.last is None or today <= self.last
        return is_requested and not self.recorded and after_first and before_last


def window_of(key: str, source: str) -> Window | None:
    """The window of a cursor's key; None if the key is not of a window of this source."""
    match key.split("/"):
        case [name, feed, day] if name == source:
            try:
                return Window(feed, date.fromisoformat(day))
            except ValueError:
                return None
    return None


def day_at(now: datetime, zone: ZoneInfo) -> date:
    """The day in the source's time zone."""
    return now.astimezone(zone).date()


def last_final_day(now: datetime, zone: ZoneInfo, close_after_s: float) -> date:
    """The last day with final documents: it ended at least `close_after_s` ago."""
    return day_at(now - timedelta(seconds=close_after_s), zone) - DAY


def windows_between(first: date, last: date, feeds: Sequence[str]) -> Iterator[Window]:
    """All windows by date, and within a day in the order of `feeds`."""
    for number in range((last - first).days + 1):
        for feed in feeds:
            yield Window(feed, first + number * DAY)


def wait_s(attempts: int, every_s: float) -> float:
    """The delay between two fetches of a window; it grows with each failure in a row."""
    return Backoff(every_s, max(every_s, MAX_BACKOFF_S)).delay_s(max(1, attempts))
