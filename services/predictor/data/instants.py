"""Converts dates and instants to numbers and back: days, or microseconds in UTC, since 1970-01-01."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def day_of(number: int) -> date:
    return date.fromordinal(EPOCH.toordinal() + number)


def day_number(day: date) -> int:
    return day.toordinal() - EPOCH.toordinal()


def instant_of(microseconds: float) -> datetime:
    return EPOCH + int(microseconds) * MICROSECOND


def microseconds_of(instant: datetime) -> float:
    """Whole microseconds since 1970-01-01 UTC."""
    return float((instant - EPOCH) // MICROSECOND)
