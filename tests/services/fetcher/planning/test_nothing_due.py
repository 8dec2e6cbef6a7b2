"""Why a fetcher has fetched nothing, and when its next window is due."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.fetcher.planning.nothing_due import NOTHING_REQUESTED, Calendar, explain
from services.fetcher.planning.windows import FetchPlan

NOON = datetime(2031, 5, 4, 3, 0, tzinfo=UTC)
TODAY = date(2031, 5, 4)
TOKYO = Calendar(ZoneInfo("Asia/Tokyo"), 600)


def days(number: int) -> date:
    return TODAY + timedelta(days=number)


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (FetchPlan(), NOTHING_REQUESTED),
        (
            FetchPlan(days(2), days(9)),
            "no window of 2031-05-06 to 2031-05-13 is due; the next is due at 2031-05-06 00:00+09:00",
        ),
        (
            FetchPlan(days(2), follow=True),
            "no window of the days from 2031-05-06 is due; the next is due at 2031-05-06 00:00+09:00",
        ),
    ],
)
def test_a_plan_without_a_due_window_names_its_days_and_the_next_time(plan: FetchPlan, text: str) -> None:
    assert explain(plan, TOKYO, NOON, None, None) == text


def test_a_source_without_documents_is_named_with_the_days_and_the_next_request() -> None:
    later = NOON + timedelta(minutes=5)

    followed = explain(FetchPlan(follow=True), TOKYO, NOON, None, later)
    past = explain(FetchPlan(days(-9), days(-2)), TOKYO, NOON, (days(-9), days(-2)), None)
    both = explain(FetchPlan(days(-9), follow=True), TOKYO, NOON, (days(-9), days(-1)), later)

    assert followed == "the source has no document of 2031-05-04; the next is due at 2031-05-04 12:05+09:00"
    assert past.startswith("the source has no document of 2031-04-25 to 2031-05-02; none will be due: check fetcher.f")
    assert both == "the source has no document of 2031-04-25 to 2031-05-04; the next is due at 2031-05-04 12:05+09:00"
