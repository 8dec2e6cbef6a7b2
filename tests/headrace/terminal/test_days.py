"""Parsing of days and times that operators write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from headrace.terminal.days import DayOptions, parse_day, parse_day_or_time, parse_time
from shared.errors import ConfigError

NOON = "2026-01-31T12:00:00+09:00"


def test_days_and_times_are_parsed() -> None:
    assert parse_day("--from", "2026-01-31") == date(2026, 1, 31)
    assert parse_time("--as-of", NOON) == datetime(2026, 1, 31, 3, tzinfo=UTC)
    assert [parse_day_or_time("--from", text) for text in ("2026-01-31", NOON)] == [
        date(2026, 1, 31),
        datetime(2026, 1, 31, 3, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("parse", "text", "cause"),
    [
        (parse_day, "31.1.2026", "--from 31.1.2026: expected a day as YYYY-MM-DD"),
        (parse_time, "noon", "--from noon: expected an ISO time, for example"),
        (parse_time, "2026-01-31T12:00:00", r"name the time zone, for example 2026-01-31T12:00:00\+09:00"),
        (
            parse_day_or_time,
            "yesterday",
            "--from yesterday: expected a day as YYYY-MM-DD, or an ISO time with its zone",
        ),
        (parse_day_or_time, "2026-01-31T12:00:00", "name the time zone, for example 2026-01-31T12:00:00Z"),
    ],
)
def test_invalid_text_is_refused_with_the_name_of_the_option(
    parse: Callable[[str, str], Any], text: str, cause: str
) -> None:
    with pytest.raises(ConfigError, match=cause):
        parse("--from", text)


def test_the_last_day_defaults_to_the_first() -> None:
    assert DayOptions("2026-01-31").required_days() == {"from": "2026-01-31", "to": "2026-01-31"}
    with pytest.raises(ConfigError, match="which days"):
        DayOptions(to_day="2026-01-31").required_days()
