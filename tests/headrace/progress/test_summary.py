"""The summary of a run, as people read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headrace.progress.summary import Report, Suggestion, summary_lines

VIEWS = {"events": 2928, "sessions": 244, "entries": 17568, "entities": 384, "outcomes": 17442, "transactions": 29053}
SUMMARY: dict[str, Any] = {
    "seconds": 134.2,
    "stages": {"fetcher": {"records": 8931, "records_per_s": 43.0, "peak_records_per_s": 919.4}},
    "views": VIEWS,
    "days": None,
    "corrections": 466,
    "regressions": 47,
    "failed_windows": [],
    "dead_letters": 0,
    "parked": 0,
    "predictions": 179,
    "notifications": 20,
}
STATUSES = {"settled": 2907, "cancelled": 21}
DATA_DIR = Path("/data")


def lines(report: Report, **changed: Any) -> list[str]:
    return summary_lines({**SUMMARY, **changed}, report)


def test_a_run_without_problems() -> None:
    assert lines(Report(DATA_DIR, STATUSES, exports="/data/exports (csv)")) == [
        "Done in 2:14.",
        "",
        "Stage             records   peak per s",
        "fetcher             8,931          919",
        "",
        "Loaded         2,928 events: 2,907 settled, 21 cancelled",
        "               244 sessions, 17,568 entries, 384 entities, 17,442 outcomes, 29,053 payouts",
        "Changes        466 values corrected by later documents, 47 missing in later documents and kept",
        "Problems       none: no failed windows, no dead letters, no parked records",
        "Predictions    179 stored",
        "Messages       20 sent",
        "Daily files    /data/exports (csv)",
        "Logs           /data/logs",
    ]


def test_a_run_without_daily_files_names_none() -> None:
    assert [line for line in lines(Report(DATA_DIR, STATUSES)) if line.startswith("Daily files")] == []


def test_problems_are_counted_and_named() -> None:
    cause = {"service": "cleaner", "error": "ValueError", "message": "bad", "records": 2, "example": "raw-events/0/7"}
    failed = [{"feed": "results", "date": "2026-01-05", "cause": "no JSON"}]

    printed = lines(Report(DATA_DIR, STATUSES, [cause]), failed_windows=failed, dead_letters=2)

    at = next(index for index, line in enumerate(printed) if line.startswith("Problems"))
    assert printed[at : at + 3] == [
        "Problems       1 failed window, 2 dead letters",
        "               failed window results 2026-01-05: no JSON",
        "               dead letters  cleaner: 2 x ValueError: bad (for example raw-events/0/7)",
    ]


def test_scores_stand_beside_the_best_possible_and_the_base_rate() -> None:
    score = {"n": 48, "log_loss": 1.36, "truth_log_loss": 1.3, "base_log_loss": 1.5123}

    printed = lines(Report(DATA_DIR, STATUSES, scores={"card": score}))

    at = next(index for index, line in enumerate(printed) if line.startswith("Predictions"))
    assert printed[at : at + 4] == [
        "Predictions    179 stored",
        "               log-loss of the winner (lower is better):",
        "               known          events   model  perfect learner  base rate",
        "               card               48   1.360            1.300      1.512",
    ]


def test_messages_keep_their_lines() -> None:
    printed = lines(Report(DATA_DIR, STATUSES, messages=[["Favourite · Kawabe", "1 wins with probability 77.3 %"]]))

    at = next(index for index, line in enumerate(printed) if line.startswith("Messages"))
    assert printed[at : at + 3] == [
        "Messages       20 sent; the last ones:",
        "               Favourite · Kawabe",
        "                 1 wins with probability 77.3 %",
    ]


def test_suggestions_come_last() -> None:
    printed = lines(Report(DATA_DIR, STATUSES, suggestions=[Suggestion("See more:", ("headrace sql", "headrace lag"))]))

    assert printed[-5:] == ["", "Try next", "  See more:", "    headrace sql", "    headrace lag"]


def test_days_without_documents_are_named() -> None:
    days = {"asked": 3, "found": 2, "missing": [{"from": "2026-01-02", "to": "2026-01-02"}], "more_gaps": 0}

    assert "Days           2 of 3; none for 2026-01-02" in lines(Report(DATA_DIR, STATUSES), days=days)
