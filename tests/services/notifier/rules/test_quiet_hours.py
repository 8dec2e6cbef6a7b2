"""Quiet hours on wall clocks: over midnight, and when the clock is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.rules.model import QuietHours
from services.notifier.rules.quiet_hours import quiet_until

TOKYO, NEW_YORK, LONDON, LORD_HOWE = map(
    ZoneInfo, ("Asia/Tokyo", "America/New_York", "Europe/London", "Australia/Lord_Howe")
)
times_of_day = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))
instants = st.integers(0, 4 * 366 * 86_400).map(lambda s: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
zones = st.sampled_from([TOKYO, NEW_YORK, LONDON, LORD_HOWE, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu")])


def hours(start: str, end: str) -> QuietHours:
    return QuietHours.model_validate({"from": start, "to": end, "then": "wait"})


quiet_hours = st.builds(lambda pair: hours(*pair), st.tuples(times_of_day, times_of_day).filter(lambda p: p[0] != p[1]))


@pytest.mark.parametrize(
    ("local", "end"),
    [
        ("2026-01-31T21:59:59", None),
        ("2026-01-31T22:00:00", "2026-02-01T07:00:00"),
        ("2026-02-01T06:59:59", "2026-02-01T07:00:00"),
        ("2026-02-01T07:00:00", None),
    ],
)
def test_hours_over_midnight_end_on_the_next_day(local: str, end: str | None) -> None:
    at = datetime.fromisoformat(local).replace(tzinfo=TOKYO)

    until = quiet_until(hours("22:00", "07:00"), TOKYO, at)

    assert until == (None if end is None else datetime.fromisoformat(end).replace(tzinfo=TOKYO))


@pytest.mark.parametrize(
    ("local", "is_quiet"),
    [
        ("2026-01-31T12:29:59", False),
        ("2026-01-31T12:30", True),
        ("2026-01-31T13:29", True),
        ("2026-01-31T13:30", False),
    ],
)
def test_hours_within_a_day_end_on_the_same_day(local: str, is_quiet: bool) -> None:
    at = datetime.fromisoformat(local).replace(tzinfo=TOKYO)

    assert (quiet_until(hours("12:30", "13:30"), TOKYO, at) is not None) is is_quiet


def test_a_night_in_which_the_clock_is_set_forward_is_an_hour_shorter() -> None:
    start = datetime(2026, 3, 7, 22, tzinfo=NEW_YORK)

    until = quiet_until(hours("22:00", "07:00"), NEW_YORK, start)

    assert until == datetime(2026, 3, 8, 7, tzinfo=NEW_YORK)
    assert until - start.astimezone(UTC) == timedelta(hours=8)


def test_an_end_that_the_clock_skips_is_the_instant_of_the_change() -> None:
    """In New York the clock goes from 02:00 to 03:00 on 2026-03-08, at 07:00 UTC."""
    until = quiet_until(hours("22:00", "02:30"), NEW_YORK, datetime(2026, 3, 8, 1, tzinfo=NEW_YORK))

    assert until == datetime(2026, 3, 8, 7, tzinfo=UTC)


def test_hours_that_the_clock_skips_as_a_whole_are_not_quiet() -> None:
    skipped = hours("02:10", "02:50")
    day = datetime(2026, 3, 8, 5, tzinfo=UTC)

    assert [quiet_until(skipped, NEW_YORK, day + timedelta(minutes=10 * n)) for n in range(36)] == [None] * 36


def test_a_time_that_the_clock_shows_twice_counts_at_its_first_time() -> None:
    """In New York the clock goes from 02:00 back to 01:00 on 2026-11-01, at 06:00 UTC."""
    night = hours("22:00", "01:30")

    end = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert quiet_until(night, NEW_YORK, end - timedelta(minutes=1)) == end
    assert quiet_until(night, NEW_YORK, end + timedelta(minutes=45)) is None


@given(quiet_hours, zones, instants)
def test_everything_is_quiet_until_the_end(hours: QuietHours, zone: ZoneInfo, at: datetime) -> None:
    until = quiet_until(hours, zone, at)

    if until is not None:
        assert at < until <= at + timedelta(hours=25, minutes=30)
        assert quiet_until(hours, zone, until - timedelta(microseconds=1)) == until
        assert quiet_until(hours, zone, at + (until - at) / 2) == until
        assert quiet_until(hours, zone, until) != until


@given(quiet_hours, zones, instants)
def test_the_wall_clock_decides_on_days_without_a_change(hours: QuietHours, zone: ZoneInfo, at: datetime) -> None:
    offsets = {(at + timedelta(hours=n)).astimezone(zone).utcoffset() for n in range(-48, 49)}
    wall_time = at.astimezone(zone).time()
    is_in_interval = (
        hours.start <= wall_time < hours.end
        if hours.start < hours.end
        else wall_time >= hours.start or wall_time < hours.end
    )

    if len(offsets) == 1:
        assert (quiet_until(hours, zone, at) is not None) is is_in_interval


@given(quiet_hours, zones, instants)
def test_the_zone_in_which_an_instant_is_written_does_not_matter(
    hours: QuietHours, zone: ZoneInfo, at: datetime
) -> None:
    assert quiet_until(hours, zone, at) == quiet_until(hours, zone, at.astimezone(NEW_YORK))
