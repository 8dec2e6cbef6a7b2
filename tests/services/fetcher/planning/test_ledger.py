"""The states of windows, gaps, and the selection of a backfill."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from services.fetcher.planning.cursor import WindowStatus
from services.fetcher.planning.ledger import Gap, Ledger, in_order
from services.fetcher.planning.revisits import RevisitRules
from services.fetcher.planning.windows import Window, windows_between

DAY = date(2031, 5, 4)
AT = datetime(2031, 5, 4, 15, 10, tzinfo=UTC)
RULES = RevisitRules(60, 3600, 7200, 24)
PLANNED, DONE, SUSPECT, FAILED, LIVE = (Window("ends", DAY + timedelta(days=number)) for number in range(5))
STATUSES = {
    DONE: WindowStatus("done", events=12, most_events=12, fetched_at=AT, equal_answers=1),
    SUSPECT: WindowStatus("done", events=0, fetched_at=AT, equal_answers=1),
    FAILED: WindowStatus("failed", attempts=1, error="busy", checked_at=AT),
    LIVE: WindowStatus("live", events=12, most_events=12, fetched_at=AT),
}
LEDGER = Ledger(STATUSES, [PLANNED, DONE], RULES, AT, fetched={LIVE}, loaded={DONE})


def test_each_window_has_one_state_and_one_stage() -> None:
    found = [(entry.window, entry.state, entry.stage) for entry in LEDGER.entries()]

    assert found == [
        (PLANNED, "planned", "planned"),
        (DONE, "done", "loaded"),
        (SUSPECT, "suspect", "emitted"),
        (FAILED, "failed", "planned"),
        (LIVE, "live", "fetched"),
    ]


def test_a_failed_or_suspect_window_has_its_cause_and_the_next_try() -> None:
    failed, suspect = LEDGER.entry(FAILED), LEDGER.entry(SUSPECT)

    assert (failed.detail, failed.next_at) == ("busy", AT + timedelta(seconds=60))
    assert (suspect.detail, suspect.next_at) == ("the document has no events", AT + timedelta(hours=1))


def test_gaps_are_consecutive_days_that_are_not_complete() -> None:
    windows = list(windows_between(PLANNED.date, LIVE.date, ["ends"]))

    assert LEDGER.gaps(windows) == [
        Gap("ends", DAY, DAY, {"planned": 1}),
        Gap("ends", SUSPECT.date, LIVE.date, {"suspect": 1, "failed": 1, "live": 1}),
    ]


def test_a_backfill_can_be_limited_to_windows_by_state() -> None:
    windows = list(windows_between(PLANNED.date, LIVE.date, ["ends"]))

    assert LEDGER.select(windows, ["missing"]) == [PLANNED, LIVE]
    assert LEDGER.select(windows, ["failed", "suspect"]) == [SUSPECT, FAILED]


def test_the_newest_day_can_come_first_with_its_feeds_in_order() -> None:
    windows = list(windows_between(DAY, DAY + timedelta(days=1), ["cards", "ends"]))

    assert [(each.feed, each.date.day) for each in in_order(windows, "newest")] == [
        ("cards", 5), ("ends", 5), ("cards", 4), ("ends", 4),
    ]  # fmt: skip
    assert in_order(windows, "oldest") == windows
