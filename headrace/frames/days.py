"""Parses the days of a call: one day, a month, a year, or a range."""

from __future__ import annotations

import datetime as dt
import re
from typing import NamedTuple

from headrace.frames.errors import BadArgument

Day = str | dt.date
"""A day: a date, or text such as 2026-01-31."""

EXAMPLES = '"2026-01-31", "2026-01", "2026" or "2026-01-05/2026-01-09"'
_PERIOD = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")


class Days(NamedTuple):
    """First and last day, both included; None: without limit."""

    first: dt.date | None = None
    last: dt.date | None = None

    @property
    def is_everything(self) -> bool:
        return self == (None, None)

    def __str__(self) -> str:
        if self.first == self.last and self.first is not None:
            return self.first.isoformat()
        return f"{self.first or '..'}/{self.last or '..'}"


EVERY_DAY = Days()


def days_of(
    span: Day | None = None, day: Day | None = None, from_day: Day | None = None, to_day: Day | None = None
) -> Days:
    """The days of a call's arguments. Raises BadArgument if they are invalid or contradict each other."""
    ways = [span is not None, day is not None, from_day is not None or to_day is not None]
    if sum(ways) > 1:
        raise BadArgument(
            "the first argument, `day`, and `from_day` with `to_day` exclude each other: give one of them"
        )
    if day is not None:
        one = _one_day("day", day)
        return Days(one, one)
    if span is not None:
        return parse_span(span)
    days = Days(
        None if from_day is None else _one_day("from_day", from_day),
        None if to_day is None else _one_day("to_day", to_day),
    )
    _require_order(days, "from_day and to_day")
    return days


def parse_span(span: Day) -> Days:
    """A day, a month, a year, or FIRST/LAST of any of these; both ends are included. Raises BadArgument."""
    if isinstance(span, dt.date):
        one = _date_of("span", span)
        return Days(one, one)
    if not isinstance(span, str):
        raise BadArgument(f"expected days such as {EXAMPLES}, got {span!r}")
    first, slash, last = span.strip().partition("/")
    days = Days(_period(first, span).first, _period(last if slash else first, span).last)
    _require_order(days, repr(span))
    return days


def _period(text: str, span: str) -> Days:
    match = _PERIOD.fullmatch(text.strip(), 0)
    if not match or not text.isascii():
        raise BadArgument(f"expected days such as {EXAMPLES}, got {span!r}")
    year = int(match[1])
    month, day = (None if part is None else int(part) for part in match.groups()[1:])
    try:
        first = dt.date(year, 1 if month is None else month, 1 if day is None else day)
        last = first if day is not None else _last_day(year, 12 if month is None else month)
    except ValueError as error:
        raise BadArgument(f"{span!r} is not in the calendar ({error}); expected days such as {EXAMPLES}") from None
    return Days(first, last)


def _last_day(year: int, month: int) -> dt.date:
    following = dt.date(year + month // 12, month % 12 + 1, 1) if (year, month) != (9999, 12) else None
    return dt.date.max if following is None else following - dt.timedelta(days=1)


def _one_day(name: str, value: Day) -> dt.date:
    if isinstance(value, dt.date):
        return _date_of(name, value)
    days = parse_span(value)
    if days.first != days.last or days.first is None:
        raise BadArgument(f'{name} is one day, such as "2026-01-31"; got {value!r}')
    return days.first


def _date_of(name: str, value: dt.date) -> dt.date:
    """A date; also a time at midnight, which pandas has instead of a date."""
    if not isinstance(value, dt.datetime):
        return value
    if value != value:  # noqa: PLR0124 NaT
        raise BadArgument(f'{name} is a day, such as "2026-01-31"; got no time (NaT)')
    if value.time() != dt.time():
        raise BadArgument(f'{name} is a day, such as "2026-01-31"; got the time {value}')
    return value.date()


def _require_order(days: Days, name: str) -> None:
    if days.first and days.last and days.first > days.last:
        raise BadArgument(f"{name}: the last day {days.last} is before the first day {days.first}")
