"""The quality report: measures over the rows of a span, what breaks a threshold, and its forms."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import orjson
import pandas as pd

from headrace.quality import findings as findings_
from headrace.quality import measure as measures_
from headrace.quality.dataset import Dataset
from headrace.quality.findings import QualityFinding, findings_of
from headrace.quality.html import page_of
from headrace.quality.measure import Measure, counted
from headrace.quality.measures.changes import measure_corrections, measure_regressions, measure_timeliness
from headrace.quality.measures.checks import measure_checks, measure_disagreement
from headrace.quality.measures.completeness import (
    measure_completeness,
    measure_coverage,
    measure_days,
    measure_leftovers,
    measure_missing_markets,
    measure_statuses,
)
from headrace.quality.measures.values import measure_novelty, measure_precision, measure_ranges, measure_shift
from headrace.quality.reading import Frames, Integers, Texts, ViewReader, datasets_of, earlier_codes
from headrace.quality.thresholds import Thresholds

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ReportSpan:
    """What a report is about. `venue` and `source`: None is all."""

    first: dt.date
    last: dt.date
    venue: Integers = None
    source: Texts = None

    def __str__(self) -> str:
        days = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        venue = "" if self.venue is None else f", venue {_listed(self.venue)}"
        return f"{days}{venue}" + ("" if self.source is None else f", source {_listed(self.source)}")


@dataclass(frozen=True, repr=False)
class QualityReport:
    """`findings` and `measures` are DataFrames; docs/quality.md describes their columns. A notebook shows the page.

    `as_of`: the time of the database at which the rows were read.
    """

    span: ReportSpan
    as_of: dt.datetime
    measure_list: tuple[Measure, ...]
    finding_list: tuple[QualityFinding, ...]
    thresholds: Thresholds
    venue_names: tuple[tuple[int, str], ...] = ()

    def __repr__(self) -> str:
        counts = self.counts()
        return f"<QualityReport {self.span}: {counts['errors']} errors, {counts['warnings']} warnings>"

    @property
    def is_good(self) -> bool:
        """Whether no threshold with the severity `error` is broken."""
        return not any(each.severity == "error" for each in self.finding_list)

    @cached_property
    def measures(self) -> pd.DataFrame:
        """One row per measured value: source, measure, field, venue (missing: all), date, value, unit, count, total,
        examples."""
        return measures_.frame_of(self.measure_list)

    @cached_property
    def findings(self) -> pd.DataFrame:
        """One row per value that breaks a threshold, the worst first: severity, threshold, source, measure, field,
        venue, date, value, limit, count, total, text, examples."""
        return findings_.frame_of(self.finding_list)

    def counts(self) -> dict[str, int]:
        """The number of findings of each severity."""
        counts = Counter(each.severity for each in self.finding_list)
        return {"errors": counts["error"], "warnings": counts["warning"]}

    def rows(self) -> dict[str, int]:
        """The number of days, events and measured values."""
        days = [each for each in self.measure_list if each.measure == "events_per_day"]
        return {
            "days": len({each.date for each in days}),
            "events": sum(each.count or 0 for each in days),
            "measures": len(self.measure_list),
        }

    def as_json(self) -> dict[str, Any]:
        """The object of docs/quality.md#json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "span": {
                "first": self.span.first,
                "last": self.span.last,
                "venues": _sequence(self.span.venue),
                "sources": _sequence(self.span.source),
            },
            "as_of": self.as_of,
            "is_good": self.is_good,
            "counts": {**self.rows(), **self.counts()},
            "findings": [
                {"severity": each.severity, "threshold": each.threshold, "limit": each.limit, "text": each.text}
                | _measure_json(each.measure)
                for each in self.finding_list
            ],
            "measures": [_measure_json(each) for each in self.measure_list],
        }

    def json(self) -> str:
        """The report as one JSON object."""
        return orjson.dumps(self.as_json(), option=orjson.OPT_INDENT_2).decode()

    def html(self) -> str:
        """The report as one HTML page without external resources."""
        return page_of(
            str(self.span), self.as_of, self.is_good, {**self.rows(), **self.counts()}, self.finding_list,
            self.measure_list, dict(self.venue_names),
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return self.html()


def build_report(reader: ViewReader, span: ReportSpan, thresholds: Thresholds) -> QualityReport:
    """Read the rows of the span and of the month before it, and measure them. Raises what the reader raises."""
    before = (span.first.replace(day=1) - dt.timedelta(days=1)).replace(day=1)
    frames = Frames(reader, before, span.first, span.last, span.venue, span.source)
    codes = earlier_codes(reader, span.first)
    measures: list[Measure] = []
    for data in datasets_of(frames):
        earlier = set(codes.loc[codes["source"] == data.source, "code"])
        measures += [
            replace(each, source=data.source)
            for each in measures_of(data, span.first, thresholds, earlier)
            # A venue is not expected to have events on every day.
            if span.venue is None or each.measure != "days_without_events"
        ]
    if not measures:
        measures = [counted("days_without_events", "events", _days(span))]
    finite = tuple(each for each in measures if abs(each.value) < float("inf"))
    sessions = frames.sessions[["venue", "venue_name"]].dropna().drop_duplicates("venue")
    names = tuple((int(venue), str(name)) for venue, name in sessions.itertuples(index=False))
    findings = tuple(findings_of(finite, thresholds.thresholds))
    return QualityReport(span, frames.as_of.to_pydatetime(), finite, findings, thresholds, names)


def measures_of(data: Dataset, first: dt.date, thresholds: Thresholds, earlier: set[str]) -> Iterator[Measure]:
    """All measures of one source from `first` on. `data` also has the month before; `earlier`: codes before `first`."""
    span = data.between(first, data.last)
    yield from measure_days(span)
    yield from measure_coverage(span)
    yield from measure_statuses(span)
    yield from measure_completeness(span)
    yield from measure_missing_markets(span)
    yield from measure_leftovers(span)
    yield from measure_timeliness(span)
    yield from measure_corrections(span)
    yield from measure_regressions(span)
    yield from measure_checks(data, span)
    yield from measure_disagreement(span)
    yield from measure_ranges(span, thresholds.range_of)
    yield from measure_precision(span)
    yield from measure_novelty(span, earlier)
    yield from measure_shift(data, span)


def _measure_json(each: Measure) -> dict[str, Any]:
    return asdict(each)


def _days(span: ReportSpan) -> list[dt.date]:
    return [span.first + dt.timedelta(days=n) for n in range((span.last - span.first).days + 1)]


def _sequence(value: Integers | Texts) -> list[int | str] | None:
    if value is None:
        return None
    return [value] if isinstance(value, int | str) else list(value)


def _listed(value: Integers | Texts) -> str:
    return ", ".join(map(str, _sequence(value) or ()))


def largest(findings: Iterable[QualityFinding], count: int = 5) -> list[QualityFinding]:
    """The worst findings, one of each threshold first."""
    first: dict[str, QualityFinding] = {}
    rest: list[QualityFinding] = []
    for each in findings:
        if each.threshold in first:
            rest.append(each)
        else:
            first[each.threshold] = each
    ordered = [*first.values(), *rest]
    ordered.sort(key=lambda each: each.severity != "error")
    return ordered[:count]
