"""Due windows: their order, the end of a day, intervals and backoff."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.fetcher.planning.windows import (
    MAX_BACKOFF_S,
    FetchPlan,
    Window,
    day_at,
    last_final_day,
    wait_s,
    window_of,
    windows_between,
)

TOKYO = ZoneInfo("Asia/Tokyo")
NEW_YEAR = datetime(2031, 12, 31, 15, 0, tzinfo=UTC)
"""Midnight in Tokyo."""


def test_history_is_ordered_by_day_and_then_by_feed() -> None:
    windows = list(windows_between(date(2031, 2, 28), date(2031, 3, 1), ["cards", "ends"]))

    assert [f"{window.date} {window.feed}" for window in windows] == [
        "2031-02-28 cards",
        "2031-02-28 ends",
        "2031-03-01 cards",
        "2031-03-01 ends",
    ]


def test_the_day_changes_at_midnight_in_the_sources_time_zone() -> None:
    assert day_at(NEW_YEAR - timedelta(seconds=1), TOKYO) == date(2031, 12, 31)
    assert day_at(NEW_YEAR, TOKYO) == date(2032, 1, 1)


def test_a_day_is_over_when_its_documents_are_final() -> None:
    assert last_final_day(NEW_YEAR + timedelta(seconds=899), TOKYO, 900) == date(2031, 12, 30)
    assert last_final_day(NEW_YEAR + timedelta(seconds=900), TOKYO, 900) == date(2031, 12, 31)


def test_waits_double_with_each_failure_up_to_an_hour() -> None:
    assert [wait_s(attempts, 60) for attempts in (0, 1, 2, 3)] == [60, 60, 120, 240]
    assert wait_s(500, 60) == MAX_BACKOFF_S


def test_a_failure_never_shortens_the_poll_interval() -> None:
    assert wait_s(1, 86_400) == 86_400


def test_a_cursors_key_gives_its_window() -> None:
    window = Window("cards", date(2031, 5, 4))

    assert window_of(window.key("meadow"), "meadow") == window


@pytest.mark.parametrize("key", ["meadow/reference/venues", "lake/cards/2031-05-04", "meadow", ""])
def test_other_cursors_have_no_window(key: str) -> None:
    assert window_of(key, "meadow") is None


@pytest.mark.parametrize(
    ("plan", "follows"),
    [
        (FetchPlan(), False),
        (FetchPlan(follow=True), True),
        (FetchPlan(last=date(2031, 5, 3), follow=True), False),
        (FetchPlan(first=date(2031, 5, 5), follow=True), False),
        (FetchPlan(first=date(2031, 5, 1), last=date(2031, 5, 4)), True),
        (FetchPlan(first=date(2031, 5, 1), last=date(2031, 5, 4), recorded=True), False),
    ],
)
def test_a_plan_includes_today_or_not(plan: FetchPlan, follows: bool) -> None:
    assert plan.includes_today(date(2031, 5, 4)) is follows


def test_an_archive_without_a_last_day_is_refused() -> None:
    with pytest.raises(ValueError, match="last"):
        FetchPlan(first=date(2031, 5, 1), recorded=True)
