"""Which events an audit is about: those of some days, or those fetched in some time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from shared.events import day_of


@dataclass(frozen=True)
class AuditWindow:
    """Days are the events' own, inclusive; milliseconds are when a record came into raw-events, `to_ms` not among them.

    Base data belongs to every day.
    """

    first: date | None = None
    last: date | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def is_everything(self) -> bool:
        return self == AuditWindow()

    @property
    def is_timeless(self) -> bool:
        """Whether it holds what was fetched at any time."""
        return self.from_ms is None and self.to_ms is None

    def has_day(self, day: date | None) -> bool:
        return day is None or ((self.first is None or self.first <= day) and (self.last is None or day <= self.last))

    def has_key(self, key: str) -> bool:
        return (self.first is None and self.last is None) or self.has_day(day_of(key))

    def has_time(self, at_ms: int | None) -> bool:
        """What came at a time that nobody knows any more came before everything that is known."""
        if at_ms is None:
            return self.from_ms is None
        return (self.from_ms is None or self.from_ms <= at_ms) and (self.to_ms is None or at_ms < self.to_ms)

    def as_json(self) -> dict[str, str | None]:
        return {"from": _text(self.first, self.from_ms), "to": _text(self.last, self.to_ms)}


def _text(day: date | None, at_ms: int | None) -> str | None:
    if at_ms is not None:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
    return day.isoformat() if day else None
