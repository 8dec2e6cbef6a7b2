"""The days of a span with and without documents."""

from __future__ import annotations

from datetime import date, timedelta

from services.fetcher.planning.coverage import MAX_GAPS, coverage_of, coverage_text, gaps_of

FIRST = date(2026, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def test_consecutive_days_are_one_gap() -> None:
    assert gaps_of([day(5), day(1), day(2), day(0)]) == [(day(0), day(2)), (day(5), day(5))]


def test_the_coverage_of_a_span_without_gaps_counts_its_days() -> None:
    coverage = coverage_of(day(0), day(2), {day(number) for number in range(-1, 9)})

    assert coverage == {"asked": 3, "found": 3, "missing": [], "more_gaps": 0}
    assert coverage_text(coverage) == "3 of 3"


def test_missing_days_are_named() -> None:
    coverage = coverage_of(day(0), day(9), {day(number) for number in (1, 2, 3, 6, 7, 8, 9)})

    assert coverage["missing"] == [
        {"from": "2026-01-01", "to": "2026-01-01"},
        {"from": "2026-01-05", "to": "2026-01-06"},
    ]
    assert coverage_text(coverage) == "7 of 10; none for 2026-01-01, 2026-01-05 to 2026-01-06"


def test_a_day_whose_windows_are_still_due_is_neither_found_nor_missing() -> None:
    assert coverage_of(day(0), day(1), {day(0)}, pending={day(1)})["missing"] == []


def test_a_long_list_of_gaps_is_truncated() -> None:
    coverage = coverage_of(day(0), day(99), {day(number) for number in range(0, 100, 2)})

    assert (len(coverage["missing"]), coverage["more_gaps"]) == (MAX_GAPS, 50 - MAX_GAPS)
    assert coverage_text(coverage).endswith(", 40 more gaps")
