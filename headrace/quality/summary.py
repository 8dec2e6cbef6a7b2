"""The report as a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.quality.report import QualityReport, largest


def summary_lines(report: QualityReport) -> Iterator[str]:
    """Counts, the worst five findings, and the verdict."""
    rows, counts = report.rows(), report.counts()
    yield f"{report.span}: {rows['events']:,} events on {rows['days']:,} days, {rows['measures']:,} values measured"
    worst = largest(report.finding_list)
    for each in worst:
        example = f", for example {each.measure.examples[0]}" if each.measure.examples else ""
        yield f"{each.severity}: {each.text}; accepted: {each.limit}{example}"
    others = len(report.finding_list) - len(worst)
    if others:
        yield f"{others:,} more; --out FILE writes all of them"
    verdict = "passed" if report.is_good else "failed"
    yield f"{verdict}: {counts['errors']:,} errors, {counts['warnings']:,} warnings"
