"""Computes which of the requested days have documents."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

DAY = timedelta(days=1)
# A report is shown in one line and kept in a service's status: the first gaps are enough to see what is wrong.
MAX_GAPS = 10

Gap = tuple[date, date]
"""The first and the last of consecutive days."""


def days_between(first: date, last: date) -> list[date]:
    """Both inclusive."""
    return [first + number * DAY for number in range((last - first).days + 1)]


def gaps_of(days: Iterable[date]) -> list[Gap]:
    gaps: list[Gap] = []
    for day in sorted(days):
        if gaps and day == gaps[-1][1] + DAY:
            gaps[-1] = gaps[-1][0], day
        else:
            gaps.append((day, day))
    return gaps


def coverage_of(
    first: date, last: date, covered: Collection[date], pending: Collection[date] = frozenset()
) -> dict[str, Any]:
    """As JSON: `asked` and `found` count days; `missing` lists the first gaps, without days that are `pending`."""
    days = days_between(first, last)
    gaps = gaps_of(day for day in days if day not in covered and day not in pending)
    return {
        "asked": len(days),
        "found": sum(day in covered for day in days),
        "missing": [{"from": str(begin), "to": str(end)} for begin, end in gaps[:MAX_GAPS]],
        "more_gaps": max(0, len(gaps) - MAX_GAPS),
    }


def coverage_text(coverage: Mapping[str, Any]) -> str:
    """In one line: 258 of 260; none for 2026-01-02, 2026-02-03 to 2026-02-04."""
    gaps: Sequence[Mapping[str, str]] = coverage["missing"]
    gap_texts = [gap["from"] if gap["from"] == gap["to"] else f"{gap['from']} to {gap['to']}" for gap in gaps]
    if coverage["more_gaps"]:
        gap_texts.append(f"{coverage['more_gaps']} more gaps")
    text = f"{coverage['found']:,} of {coverage['asked']:,}"
    return f"{text}; none for {', '.join(gap_texts)}" if gap_texts else text
