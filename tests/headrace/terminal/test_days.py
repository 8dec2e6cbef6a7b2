"""Days and instants that people write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from headrace.terminal.days import DayOptions, day, day_or_instant, instant
from shared.errors import ConfigError

NOON = "2026-01-31T12:00:00+09:00"


def test_days_and_instants_are_read() -> None:
    assert day("--from", "2026-01-31") == date(2026, 1, 31)
    assert instant("--as-of", NOON) == datetime(2026, 1, 31, 3, tzinfo=UTC)
    assert [day_or_instant("--from", text) for text in ("2026-01-31", NOON)] == [
        date(2026, 1, 31),
        datetime(2026, 1, 31, 3, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("read", "text", "cause"),
    [
        (day, "31.1.2026", "--from 31.1.2026: expected a day as YYYY-MM-DD"),
        (instant, "noon", "--from noon: expected an ISO time, for example"),
        (instant, "2026-01-31T12:00:00", r"name the time zone, for example 2026-01-31T12:00:00\+09:00"),
        (day_or_instant, "yesterday", "--from yesterday: expected a day as YYYY-MM-DD, or an ISO time with its zone"),
        (day_or_instant, "2026-01-31T12:00:00", "name the time zone, for example 2026-01-31T12:00:00Z"),
    ],
)
def test_what_is_neither_is_refused_by_name(read: Callable[[str, str], Any], text: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        read("--from", text)


def test_a_span_ends_with_its_first_day_unless_told() -> None:
    assert DayOptions("2026-01-31").span() == {"from": "2026-01-31", "to": "2026-01-31"}
    with pytest.raises(ConfigError, match="which days"):
        DayOptions(to_day="2026-01-31").span()
