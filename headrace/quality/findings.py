"""What breaks a threshold, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from headrace.quality.measure import Measure, series_of
from headrace.quality.measures.checks import CONTRADICTIONS, DUPLICATES
from headrace.quality.thresholds import SEVERITIES, QualityThreshold, Severity

COLUMNS = (
    "severity", "threshold", "source", "measure", "field", "venue", "date", "value", "limit", "count", "total", "text",
    "examples",
)  # fmt: skip
_MEANINGS = {name: check.meaning for name, check in (DUPLICATES | CONTRADICTIONS).items()}


class QualityFinding(NamedTuple):
    """A measure that breaks a threshold. `limit`: the accepted values, in words. `text`: the finding in words."""

    severity: Severity
    threshold: str
    measure: Measure
    limit: str
    text: str


def findings_of(measures: Iterable[Measure], thresholds: Mapping[str, QualityThreshold]) -> list[QualityFinding]:
    """Errors first, then in the order of the thresholds, then the largest counts.

    A value that breaks several thresholds of the same measure gives one finding: that of the first one. What all venues
    together break is not reported again for each of them.
    """
    by_measure: dict[str, list[Measure]] = {}
    for each in measures:
        by_measure.setdefault(each.measure, []).append(each)
    findings: list[QualityFinding] = []
    reported: set[Measure] = set()
    reported_fields: set[tuple[str, str, str]] = set()
    ordered = sorted(thresholds.items(), key=lambda item: SEVERITIES.index(item[1].severity))
    for name, threshold in ordered:
        broken = [
            each
            for each in _broken(by_measure.get(threshold.measure, ()), threshold)
            if each not in reported and (each.venue is None or _field_of(each) not in reported_fields)
        ]
        reported.update(broken)
        reported_fields.update(_field_of(each) for each in broken if each.venue is None)
        broken.sort(key=lambda each: (-(each.count or 0), each.source, each.field, each.venue or 0, str(each.date)))
        findings += [
            QualityFinding(threshold.severity, name, each, threshold.limit_text, text_of(each)) for each in broken
        ]
    return findings


def _field_of(measure: Measure) -> tuple[str, str, str]:
    return measure.source, measure.measure, measure.field


def _broken(measures: Iterable[Measure], threshold: QualityThreshold) -> Iterator[Measure]:
    for each in measures:
        has_base = each.total is None or each.total >= threshold.base
        is_meant = (each.venue is not None) == threshold.per_venue and threshold.selects(each.field)
        if is_meant and has_base and not threshold.low <= each.value <= threshold.high:
            yield each


def text_of(measure: Measure) -> str:
    """A measure in words, for example `known values of entries.weight_kg: 0.4 % (12 of 3,000)`."""
    meaning = _MEANINGS.get(measure.field) if measure.measure in {"duplicates", "contradictions"} else None
    if meaning is None:
        name = measure.measure if measure.field != "events" else f"{measure.measure} events"
        words = measure.measure.replace("_", " ")
        phrase = _PHRASES.get(name) or _PHRASES.get(measure.measure, f"{words} of {{field}}")
        meaning = phrase.format(field=measure.field)
    where = "" if measure.venue is None else f", venue {measure.venue}"
    form = "%Y-%m" if measure.measure == "shift" else "%Y-%m-%d"
    when = "" if measure.date is None else f", {measure.date:{form}}"
    return f"{meaning}{where}{when}: {value_text(measure)}"


_PHRASES = {
    "completeness": "known values of {field}",
    "corrected": "corrected values of {field}",
    "corrected events": "events with a corrected value",
    "coverage": "events with {field}",
    "days_without_events": "days without events",
    "dead_letters": "dead letters",
    "late": "events that were {field} after their start",
    "missing_markets": "events with missing payout rows",
    "mixed_precision": "venues that round {field} differently",
    "novel_values": "codes of {field} that are new",
    "out_of_range": "values of {field} out of the plausible range",
    "parked": "parked facts",
    "regressed": "values of {field} that a later document lacks",
    "regressed events": "events of which a later document lacks a value",
    "shift": "shift of {field} against the month before",
    "unfinished": "events whose result is overdue",
}


def value_text(measure: Measure) -> str:
    """The value with its unit."""
    match measure.unit:
        case "share":
            text = f"{measure.value:.1%}".replace("%", " %")
            return f"{text} ({measure.count:,} of {measure.total:,})"
        case "count":
            return f"{measure.value:,.0f}"
        case "s":
            return duration_text(measure.value)
        case _:
            return f"{measure.value:.4g}"


def duration_text(seconds: float) -> str:
    """A duration with the unit that suits it; negative is before."""
    size = abs(seconds)
    if size < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if size < 7_200 else f"{seconds / 3_600:.1f} h"


def frame_of(findings: Iterable[QualityFinding]) -> pd.DataFrame:
    """The findings as a DataFrame with the columns of COLUMNS, also without any."""
    rows = list(findings)
    frame = pd.DataFrame(series_of([each.measure for each in rows])).assign(
        severity=pd.Categorical([each.severity for each in rows], categories=list(SEVERITIES)),
        threshold=pd.Series([each.threshold for each in rows], dtype="str"),
        limit=pd.Series([each.limit for each in rows], dtype="str"),
        text=pd.Series([each.text for each in rows], dtype="str"),
    )
    return frame[list(COLUMNS)]
