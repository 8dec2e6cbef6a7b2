"""Conversion of days and instants to numbers and back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from services.predictor.data.instants import day_number, day_of, instant_of, microseconds_of

DAYS = {date(1970, 1, 1): 0, date(1969, 12, 30): -2, date(2031, 5, 6): 22_405}
INSTANTS = (datetime(2031, 5, 6, 1, 2, 3, 456789, UTC), datetime(1969, 12, 31, 23, 59, tzinfo=UTC))


@pytest.mark.parametrize(("day", "number"), DAYS.items())
def test_a_day_is_its_distance_from_1970(day: date, number: int) -> None:
    assert day_number(day) == number
    assert day_of(number) == day


@pytest.mark.parametrize("instant", INSTANTS)
def test_an_instant_comes_back_to_the_microsecond(instant: datetime) -> None:
    assert instant_of(microseconds_of(instant)) == instant


def test_an_instant_counts_in_utc_whatever_its_zone() -> None:
    assert microseconds_of(datetime(1970, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))) == 0
    assert instant_of(1_500_000).tzinfo is UTC
