"""Computes how old a live fact is when its row is written: the time since its document was fetched."""

from __future__ import annotations

from datetime import datetime

from shared.clock import Clock, VirtualClock
from shared.records import FETCHED_AT, LIVE, DecodedRecord
from shared.topics import CLEAN


def live_age_s(item: DecodedRecord, clock: Clock) -> float | None:
    """In real seconds, whatever the speed of the clock. None if the fact is of a past day, replayed or redriven."""
    text = item.record.headers.get(FETCHED_AT)
    if text is None or item.record.topic != CLEAN or item.revision != LIVE:
        return None
    try:
        age = clock.now() - datetime.fromisoformat(text.decode())
    except (TypeError, ValueError):  # not written by the cleaner: the fact itself is valid
        return None
    speed = clock.speed if isinstance(clock, VirtualClock) else 1.0
    return max(0.0, age.total_seconds() / speed)
