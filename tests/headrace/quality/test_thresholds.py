"""Files of thresholds: what they change, and how their problems are reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.quality.findings import findings_of
from headrace.quality.measure import Measure, counted, share
from headrace.quality.threshold_file import DEFAULT_FILE, read_thresholds
from headrace.quality.thresholds import MEASURES, QualityThreshold, Thresholds, parse_thresholds
from shared.errors import ConfigError

SHIPPED = read_thresholds()
NOTHING = Thresholds({}, {})


def parse(text: str) -> Thresholds:
    return parse_thresholds(text.encode(), "limits.yaml", SHIPPED)


def test_a_file_replaces_adds_and_removes() -> None:
    own = parse("""\
thresholds:
  outcomes: {measure: coverage, field: outcomes, min: 0.5, severity: warning}
  weights: {measure: completeness, field: entries.weight_kg, min: 1}
  precision: off
ranges:
  entries.weight_kg: {min: 40, max: 60}
  outcomes.start_timing_s: off
""")

    assert own.thresholds["outcomes"].low == 0.5
    assert own.thresholds["weights"].limit_text == "at least 1"
    assert own.thresholds.keys() == SHIPPED.thresholds.keys() - {"precision"} | {"weights"}
    weight = own.range_of("entries.weight_kg")
    assert weight is not None
    assert (weight.low, weight.high) == (40, 60)
    assert own.range_of("outcomes.start_timing_s") is None


def test_the_range_of_a_file_is_used_before_a_shipped_pattern() -> None:
    own = parse("ranges: {entries.*: {min: 1, max: 2}}")

    percent = own.range_of("entries.motor_top2_percent")

    assert percent is not None
    assert percent.high == 2


@pytest.mark.parametrize("text", ["", "thresholds:\n", "ranges: {}\n"])
def test_an_empty_file_changes_nothing(text: str) -> None:
    assert parse(text) == SHIPPED


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("thresholds:\n  a: {measure: coverge, min: 1}", "2: thresholds.a: there is no measure 'coverge'; did you"),
        ("thresholds:\n  a:\n    measure: late\n    mx: 1", "4: thresholds.a.mx: unknown key; did you mean max?"),
        ("thresholds:\n  a:\n    measure: late", "2: thresholds.a: it has no limit; write min, max or both"),
        ("thresholds:\n  a: {max: 1}", "2: thresholds.a.measure: is missing"),
        ("thresholds:\n  a:\n    measure: late\n    max: soon", "4: thresholds.a.max: expected a valid number"),
        ("thresholds:\n  a:\n    measure: late\n    min: 2\n    max: 1", "2: thresholds.a: min is above max"),
        ("thresholds:\n  outcoms: off", "2: thresholds.outcoms: there is nothing of this name to remove; did you"),
        ("thresholds: 3", "1: thresholds: expected a mapping"),
        ("\ntreshholds: {}", "2: treshholds: unknown key; did you mean thresholds?"),
        ("ranges:\n  x: 3", "2: ranges.x: expected a mapping or off"),
        ("- a", "1: expected a mapping"),
        ("a: [", "1: this is not YAML"),
    ],
)  # fmt: skip
def test_a_problem_is_reported_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text)

    assert f"limits.yaml:{problem}" in str(error.value)


def test_all_problems_of_a_file_are_reported() -> None:
    with pytest.raises(ConfigError) as error:
        parse("thresholds:\n  a: {max: 1}\n  b: {measure: late}\nrange: {}")

    assert [line.split(":")[1] for line in str(error.value).splitlines()] == ["2", "3", "4"]


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the thresholds: No such file.*--thresholds"):
        read_thresholds(tmp_path / "none.yaml")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_content_is_accepted_or_refused_with_a_line(content: bytes) -> None:
    problems = ""
    try:
        parse_thresholds(content, "limits.yaml")
    except ConfigError as error:
        problems = str(error)

    assert all(line.startswith("limits.yaml:") for line in problems.splitlines())


def test_every_shipped_threshold_names_a_measure_and_a_description() -> None:
    assert {each.measure for each in SHIPPED.thresholds.values()} <= set(MEASURES)
    assert DEFAULT_FILE.read_text().startswith("# The thresholds of the quality report (docs/quality.md).")


def threshold(**values: object) -> QualityThreshold:
    return QualityThreshold.model_validate({"measure": "coverage", "min": 0.5, **values})


def test_a_value_beyond_a_threshold_is_a_finding() -> None:
    low, high = share("coverage", "entries", 1, 4), share("coverage", "outcomes", 3, 4)

    [finding] = findings_of([low, high], {"a": threshold()})

    assert (finding.measure, finding.severity, finding.limit) == (low, "error", "at least 0.5")
    assert finding.text == "events with entries: 25.0 % (1 of 4)"


def test_a_value_is_reported_once_by_the_most_severe_threshold() -> None:
    low = share("coverage", "entries", 1, 4)

    [finding] = findings_of([low], {"a": threshold(severity="warning"), "b": threshold(field="ent*")})

    assert (finding.threshold, finding.severity) == ("b", "error")


def test_few_rows_break_no_threshold_with_a_base() -> None:
    low = share("coverage", "entries", 1, 4)

    assert findings_of([low], {"a": threshold(base=5)}) == []
    assert len(findings_of([low], {"a": threshold(base=4)})) == 1


def test_a_venue_is_reported_unless_all_venues_together_are() -> None:
    both = [share("coverage", field, 1, 4, venue) for field in ("entries", "outcomes") for venue in (None, 7)]
    limits = {"all": threshold(field="entries"), "venue": threshold(per_venue=True)}

    findings = [(each.threshold, each.measure.field) for each in findings_of(both, limits)]

    assert findings == [("all", "entries"), ("venue", "outcomes")]


def test_findings_with_more_cases_come_first() -> None:
    few, many = counted("parked", "a", ["x"]), counted("parked", "b", ["x", "y"])

    findings = findings_of([few, many], {"a": QualityThreshold.model_validate({"measure": "parked", "max": 0})})

    assert [each.measure for each in findings] == [many, few]


def test_a_month_is_named_in_a_finding_about_a_shift() -> None:
    from datetime import date

    shift = Measure("shift", "entries.class", 0.5, "index", date=date(2026, 1, 1))

    [finding] = findings_of([shift], {"a": QualityThreshold.model_validate({"measure": "shift", "max": 0.25})})

    assert finding.text == "shift of entries.class against the month before, 2026-01: 0.5"
