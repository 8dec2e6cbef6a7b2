"""Reads what planning needs from a document: which events have values, when they start, which are settled."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from services.fetcher.planning.cursor import Timetable

# No repetition gives characters back (`*+`), so the time is linear whatever the text is.
NO_VALUE = re.compile(rb'\s*+(?:null|\[\s*+\]|\{\s*+\}|"\s*+")?\s*+')


class PlanningKeys(NamedTuple):
    """The keys of the events of one feed that planning reads. `values` is empty and the others are None if they are not
    declared for the feed."""

    values: tuple[str, ...] = ()
    start: str | None = None
    settled: str | None = None

    def names(self) -> list[str]:
        """Each key once."""
        return list(dict.fromkeys((*self.values, *(key for key in (self.start, self.settled) if key is not None))))


class DocumentFindings:
    """What the events of one document say."""

    def __init__(self, keys: PlanningKeys, zone: ZoneInfo) -> None:
        self._keys = keys
        self._zone = zone
        self._valued = 0
        self._starts: dict[str, int] = {}
        self._settled: set[str] = set()

    def add(self, events: Sequence[str], values_of: Callable[[str], Sequence[bytes | None]]) -> None:
        """`events`: their keys. `values_of` returns the JSON texts of the values of a planning key, in the same order;
        None if an event does not have it."""
        keys = self._keys
        without: Sequence[int] = range(len(events))
        for key in keys.values:
            values = values_of(key)
            without = [number for number in without if not has_value(values[number])]
        self._valued += len(events) - len(without)
        if keys.start is not None:
            starts = (
                (event, start_of(value, self._zone)) for event, value in zip(events, values_of(keys.start), strict=True)
            )
            self._starts |= {event: start for event, start in starts if start is not None}
        if keys.settled is not None:
            settled = zip(events, values_of(keys.settled), strict=True)
            self._settled |= {event for event, value in settled if has_value(value)}

    @property
    def valued(self) -> int | None:
        """The number of events with values; None if no key shows whether an event has values."""
        return self._valued if self._keys.values else None

    def timetable(self, published_at: datetime | None) -> Timetable:
        return Timetable(self._starts, frozenset(self._settled), published_at)


def has_value(raw: bytes | None) -> bool:
    """Whether the JSON text of a value is neither null nor empty. None: the event does not have the key."""
    return raw is not None and NO_VALUE.fullmatch(raw) is None


def start_of(raw: bytes | None, zone: ZoneInfo) -> int | None:
    """The start of an event in Unix seconds; None if it is missing or not a time."""
    try:
        text = msgspec.json.decode(raw, type=str) if raw else ""
        at = datetime.fromisoformat(text)
        return round((at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC).timestamp())
    except (msgspec.DecodeError, ValueError, OverflowError):
        return None
