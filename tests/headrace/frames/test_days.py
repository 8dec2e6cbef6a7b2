"""Days of a call: every form, and what is refused."""

from __future__ import annotations

import calendar
from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.frames.days import Day, Days, days_of, parse_span
from headrace.frames.errors import BadArgument

dates = st.dates()


@given(dates)
def test_a_day_is_itself(day: date) -> None:
    assert parse_span(day.isoformat()) == parse_span(day) == days_of(day=day) == Days(day, day)


@given(dates)
def test_a_month_has_all_its_days(day: date) -> None:
    days = parse_span(day.isoformat()[:7])
    last = calendar.monthrange(day.year, day.month)[1]

    assert days == Days(day.replace(day=1), day.replace(day=last))


@given(st.integers(1, 9999))
def test_a_year_has_all_its_days(year: int) -> None:
    assert parse_span(f"{year:04d}") == Days(date(year, 1, 1), date(year, 12, 31))


@given(dates, dates)
def test_a_range_includes_both_ends(one: date, other: date) -> None:
    first, last = sorted([one, other])

    assert parse_span(f"{first}/{last}") == days_of(from_day=first, to_day=last.isoformat()) == Days(first, last)
    if first < last:
        with pytest.raises(BadArgument, match="before"):
            parse_span(f"{last}/{first}")


@given(dates, dates)
def test_the_text_of_days_gives_them_again(one: date, other: date) -> None:
    days = Days(*sorted([one, other]))

    assert parse_span(str(days)) == days


@given(st.text(max_size=25))
def test_other_text_is_refused_with_an_example(text: str) -> None:
    try:
        days = parse_span(text)
    except BadArgument as error:
        assert "2026-01" in str(error) or "before" in str(error)  # noqa: PT017
    else:
        assert days.first is not None
        assert days.last is not None
        assert days.first <= days.last


@pytest.mark.parametrize(
    "span",
    ["", "2026-", "2026-00", "2026-02-30", "2026-1-1", "26-01-01", "2026/", "/2026", "2026/2027/2028", "２０２６",
     "today", pd.Timestamp("2026-01-01 12:00"), pd.NaT],
)  # fmt: skip
def test_such_a_span_is_refused(span: Day) -> None:
    with pytest.raises(BadArgument):
        parse_span(span)


def test_a_time_at_midnight_is_a_day() -> None:
    assert parse_span(pd.Timestamp("2026-01-31")) == parse_span("2026-01-31")


def test_a_limit_is_one_day() -> None:
    with pytest.raises(BadArgument, match="from_day is one day"):
        days_of(from_day="2026-01")
