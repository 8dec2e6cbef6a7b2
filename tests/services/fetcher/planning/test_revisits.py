"""When a window whose day is over is fetched again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.fetcher.planning.cursor import CursorState, WindowStatus
from services.fetcher.planning.revisits import MAX_RECHECK_DELAY, RevisitRules, next_visit_at

AT = datetime(2031, 5, 4, 15, 10, tzinfo=UTC)
RULES = RevisitRules(failed_s=60, retry_s=3600, max_retry_s=7200, recheck_after_h=24)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def status(state: CursorState = "done", **fields: object) -> WindowStatus:
    return WindowStatus(state, **({"fetched_at": AT} | fields))  # type: ignore[arg-type]


def test_a_suspect_window_is_fetched_again_with_growing_delays() -> None:
    delays = []
    for equal_answers in (1, 2, 3, 9):
        at = next_visit_at(status(equal_answers=equal_answers, checked_at=AT), True, RULES, AT)
        assert at is not None
        delays.append(at - AT)

    assert delays == [HOUR, 2 * HOUR, 2 * HOUR, 2 * HOUR]


def test_a_finished_window_is_fetched_once_more_after_a_day() -> None:
    assert next_visit_at(status(), False, RULES, AT) == AT + DAY
    assert next_visit_at(status(checked_at=AT + HOUR), False, RULES, AT) == AT + DAY
    assert next_visit_at(status(checked_at=AT + DAY), False, RULES, AT) is None


def test_a_recheck_that_could_not_take_place_for_long_is_left_out() -> None:
    assert next_visit_at(status(), False, RULES, AT + DAY + MAX_RECHECK_DELAY) is None


def test_a_declaration_can_switch_rechecks_off() -> None:
    assert next_visit_at(status(), False, RULES._replace(recheck_after_h=0), AT) is None


def test_a_failed_window_is_fetched_again_with_growing_delays() -> None:
    failed = status("failed", error="busy", attempts=3, checked_at=AT)

    assert next_visit_at(failed, False, RULES, AT) == AT + timedelta(seconds=240)


def test_a_window_of_the_current_day_is_not_fetched_by_these_rules() -> None:
    assert next_visit_at(status("live"), False, RULES, AT) is None
