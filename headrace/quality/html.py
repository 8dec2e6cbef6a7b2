"""The report as one HTML page: no script, nothing loaded from elsewhere, readable on a phone and without colours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined

from headrace.quality import svg
from headrace.quality.findings import QualityFinding, duration_text, text_of, value_text
from headrace.quality.measure import Measure
from headrace.quality.measures.checks import CONTRADICTIONS, DUPLICATES
from headrace.quality.measures.values import QUANTILES

MAX_FINDINGS = 200
_TEMPLATE = "page.html.jinja"
_RANGE = ("minimum", *QUANTILES, "maximum")


class FieldRow(NamedTuple):
    """A share of all venues together, and of the worst venue."""

    source: str
    field: str
    overall: Measure
    worst: Measure | None
    picture: object


class RangeRow(NamedTuple):
    """Quantiles of a number in the order of _RANGE, how many values there are, and how many are outside the range."""

    source: str
    field: str
    values: Sequence[float]
    total: int
    outside: Measure | None
    picture: object


def page_of(
    title: str,
    as_of: dt.datetime,
    is_good: bool,
    counts: Mapping[str, int],
    findings: Sequence[QualityFinding],
    measures: Sequence[Measure],
    venue_names: Mapping[int, str],
) -> str:
    """The page. Every text is escaped, also names that come from documents."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"value": value_text, "duration": duration_text, "words": text_of}
    template = environment.from_string(files(__package__).joinpath(_TEMPLATE).read_text("utf-8"))
    by_measure = _grouped(measures)
    return template.render(
        title=title,
        as_of=f"{as_of.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC",
        is_good=is_good,
        counts=counts,
        findings=findings[:MAX_FINDINGS],
        omitted=max(0, len(findings) - MAX_FINDINGS),
        days=_days(by_measure),
        shares=[(heading, _field_rows(by_measure, name)) for heading, name in _SHARES],
        ranges=list(_range_rows(by_measure)),
        delays=_delays(by_measure),
        shifts=_shifts(by_measure),
        checks=_checks(by_measure),
        cases=[each for name in _CASES for each in by_measure.get(name, ()) if each.count],
        quantiles=_RANGE,
        venue_names=venue_names,
    )


_SHARES = (
    ("Coverage: events with each kind of row", "coverage"),
    ("Completeness: known values of each field", "completeness"),
    ("Corrected values", "corrected"),
    ("Values that a later document lacks", "regressed"),
    ("Differences between observation and result", "disagreement"),
)
_CASES = (
    "status", "unfinished", "missing_markets", "missing_market_rows", "novel_values", "mixed_precision", "late",
    "dead_letters_by_error", "parked_by_kind",
)  # fmt: skip


def _grouped(measures: Iterable[Measure]) -> dict[str, list[Measure]]:
    grouped: dict[str, list[Measure]] = {}
    for each in measures:
        grouped.setdefault(each.measure, []).append(each)
    return grouped


def _days(by_measure: Mapping[str, Sequence[Measure]]) -> list[dict[str, Any]]:
    """For each source: its events per day, a picture of them, and the days without any."""
    sources: dict[str, list[Measure]] = {}
    for each in by_measure.get("events_per_day", ()):
        sources.setdefault(each.source, []).append(each)
    return [
        {
            "source": source,
            "first": days[0].date,
            "last": days[-1].date,
            "events": sum(each.count or 0 for each in days),
            "empty": [each.date for each in days if not each.count],
            "picture": svg.bars([each.value for each in days], [f"{each.date}: {each.value:,.0f}" for each in days]),
        }
        for source, days in sources.items()
    ]


def _field_rows(by_measure: Mapping[str, Sequence[Measure]], measure: str) -> list[FieldRow]:
    rows: list[FieldRow] = []
    venues: dict[tuple[str, str], list[Measure]] = {}
    for each in by_measure.get(measure, ()):
        if each.venue is not None:
            venues.setdefault((each.source, each.field), []).append(each)
    for each in by_measure.get(measure, ()):
        if each.venue is None:
            own = venues.get((each.source, each.field), [])
            worst = min(own, key=lambda venue: venue.value) if len(own) > 1 else None
            rows.append(FieldRow(each.source, each.field, each, worst, svg.meter(each.value)))
    return rows


def _range_rows(by_measure: Mapping[str, Sequence[Measure]]) -> Iterable[RangeRow]:
    values = {(name, each.source, each.field): each for name in _RANGE for each in by_measure.get(name, ())}
    outside = {(each.source, each.field): each for each in by_measure.get("out_of_range", ())}
    for each in by_measure.get("minimum", ()):
        row = [values[name, each.source, each.field].value for name in _RANGE]
        yield RangeRow(
            each.source, each.field, row, each.total or 0, outside.get((each.source, each.field)), svg.box(row)
        )


def _delays(by_measure: Mapping[str, Sequence[Measure]]) -> list[dict[str, Any]]:
    """What became known how long after the start of its event, or was corrected how long after it was known first."""
    rows = []
    for heading, names in (
        ("after the start", ("delay_median", "delay_p90", "delay_max")),
        ("correction after the first fact", ("correction_delay_median", "correction_delay_p90")),
    ):
        keys = dict.fromkeys((each.source, each.field) for each in by_measure.get(names[0], ()))
        for source, field in keys:
            cells = [
                next((each for each in by_measure.get(name, ()) if (each.source, each.field) == (source, field)), None)
                for name in names
            ]
            cells += [None] * (3 - len(cells))
            rows.append({"source": source, "field": field, "what": heading, "cells": cells})
    return rows


def _shifts(by_measure: Mapping[str, Sequence[Measure]]) -> list[tuple[Measure, object]]:
    largest = sorted(by_measure.get("shift", ()), key=lambda each: (-each.value, each.source, each.field, each.date))
    return [(each, svg.meter(min(1.0, each.value / 0.5))) for each in largest]


def _checks(by_measure: Mapping[str, Sequence[Measure]]) -> list[tuple[str, Measure]]:
    meanings = {name: check.meaning for name, check in (DUPLICATES | CONTRADICTIONS).items()}
    return [
        (meanings[each.field], each) for name in ("duplicates", "contradictions") for each in by_measure.get(name, ())
    ]
