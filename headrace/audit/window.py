"""Defines which records an audit covers: events of a range of days, or records fetched in a range of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from shared.events import day_of


@dataclass(frozen=True)
class AuditWindow:
    """`first`, `last`: days of the events, inclusive. `from_ms`, `to_ms`: when records were appended to raw-events,
    `to_ms` exclusive. None is unbounded.

    Reference data belongs to every day.
    """

    first: date | None = None
    last: date | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def is_everything(self) -> bool:
        return self == AuditWindow()

    @property
    def has_any_time(self) -> bool:
        """Whether the window is not limited to a range of fetch times."""
        return self.from_ms is None and self.to_ms is None

    def has_day(self, day: date | None) -> bool:
        return day is None or ((self.first is None or self.first <= day) and (self.last is None or day <= self.last))

    def has_key(self, key: str) -> bool:
        return (self.first is None and self.last is None) or self.has_day(day_of(key))

    def has_time(self, at_ms: int | None) -> bool:
        """An unknown time (None) counts as earlier than every known one."""
        if at_ms is None:
            return self.from_ms is None
        return (self.from_ms is None or self.from_ms <= at_ms) and (self.to_ms is None or at_ms < self.to_ms)

    def as_json(self) -> dict[str, str | None]:
        return {"from": _text(self.first, self.from_ms), "to": _text(self.last, self.to_ms)}


def _text(day: date | None, at_ms: int | None) -> str | None:
    if at_ms is not None:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
    return day.isoformat() if day else None
