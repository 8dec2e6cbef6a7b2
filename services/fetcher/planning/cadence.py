"""Computes when a document of the current day is fetched next: often near events, less in between, least at night."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from services.fetcher.planning.cursor import Timetable


class CadenceRules(NamedTuple):
    """The cadence of a declaration, in seconds (sources/declaration.py describes the fields)."""

    near_s: float
    settle_s: float
    near_interval_s: float
    interval_s: float
    night_interval_s: float
    min_publication_gap_s: float


class EventTimes(NamedTuple):
    """The starts of a day's events in Unix seconds: of all of them, and of those that are not settled."""

    starts: Sequence[int]
    open_starts: Sequence[int]


NO_TIMES = EventTimes((), ())


def event_times(timetables: Iterable[Timetable]) -> EventTimes:
    """Joins what the documents of a day say: one feed has the starts, another says which events are settled."""
    starts: dict[str, int] = {}
    settled: set[str] = set()
    for timetable in timetables:
        starts |= timetable.starts
        settled |= timetable.settled
    open_starts = [at for event, at in starts.items() if event not in settled]
    return EventTimes(sorted(starts.values()), sorted(open_starts))


def next_fetch_at(
    checked_at: datetime, published_at: datetime | None, times: EventTimes, rules: CadenceRules
) -> datetime:
    """When to fetch a document after the fetch at `checked_at`.

    If an event becomes near before the interval is over, the document is fetched as soon as it is near. Nothing is
    fetched while the source cannot have published again. `published_at`: when the last document was published; one
    that lies in the future is ignored.
    """
    checked_s = checked_at.timestamp()
    at_s = checked_s + _interval_s(checked_s, times, rules)
    near_from_s = [start - rules.near_s for start in times.open_starts if start - rules.near_s > checked_s]
    if near_from_s:
        at_s = min(at_s, max(near_from_s[0], checked_s + rules.near_interval_s))
    if published_at is not None and published_at <= checked_at:
        at_s = max(at_s, published_at.timestamp() + rules.min_publication_gap_s)
    return checked_at + timedelta(seconds=at_s - checked_s)


def _interval_s(at_s: float, times: EventTimes, rules: CadenceRules) -> float:
    if any(start - rules.near_s <= at_s <= start + rules.settle_s for start in times.open_starts):
        return rules.near_interval_s
    if not times.starts or times.starts[0] <= at_s <= times.starts[-1]:
        return rules.interval_s
    return rules.night_interval_s
