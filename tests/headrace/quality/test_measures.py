"""Each kind of fault in made-up rows is measured, and rows without faults have none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from headrace.database.embedded import EmbeddedPostgres
from headrace.quality.report import QualityReport
from shared.events import Conditions
from tests.headrace.quality.conftest import database_and_reader
from tests.headrace.quality.made_up_facts import (
    DAY,
    SLOTS,
    ShuffledReader,
    card,
    event,
    load,
    observation,
    report_of,
    result,
    row_of,
)
from tests.services.loader.facts import entry, key, outcomes, paid

EARLIER = date(2025, 4, 10)
GAP = DAY + timedelta(days=1)
LAST = DAY + timedelta(days=2)
OTHER_CLASS = tuple(entry(slot, 900 + slot, categories={"class": 9}, measures={"weight_kg": 20.0}) for slot in SLOTS)


def with_faults() -> Iterator[Any]:
    """A month of 60 events before, with heavier entries; then a day with one fault in each event, a gap, and a day."""
    heavy = tuple(
        entry(slot, 500 + slot, measures={"weight_kg": 70.0 + slot}, categories={"class": 1}) for slot in SLOTS
    )
    for venue in range(1, 6):
        for number in range(1, 13):
            yield card(number, EARLIER, venue, entries=heavy)
            yield card(number, DAY, venue)
    yield from event(1)
    yield from (card(2, entries=OTHER_CLASS), observation(2), result(2))
    yield card(3)  # neither observed nor settled
    yield from (card(4), observation(4, known=300), result(4))  # observed too late
    yield from (card(5), observation(5), result(5), result(5, known=400, outcomes=outcomes(1, 2, 3, 3)))
    yield from (card(6), observation(6), result(6), result(6, known=401, technique=None))
    yield from (card(7), observation(7), result(7, missing_markets=("place",)))
    yield from (
        card(8),
        observation(8),
        result(8, transactions=paid(win={"3": 400}, place={"1": 120}, exacta={"1-2": 9})),
    )
    early = tuple(replace(each, start_timing_s=-0.1) for each in outcomes(1, 2, 3, 4))
    yield from (card(9), observation(9), result(9, outcomes=early))
    yield from (card(10), observation(10, conditions=Conditions()), result(10, transactions=result(11).transactions))
    yield from (card(11), observation(11), result(11))
    yield from (card(12, scheduled_at=card(1).scheduled_at), observation(12, known=-10), result(12))
    yield result(1, venue=30)  # parked: the event is not listed
    yield from (replace_day(card(1), LAST), observation(1, LAST), result(1, LAST))  # the line-up of DAY


def replace_day(fact: Any, day: date) -> Any:
    again = card(1, day)
    return again.model_copy(update={"entries": fact.entries})


LETTER = (
    "INSERT INTO facts.dead_letters VALUES"
    " ('cleaner', gen_random_uuid(), 'cleaner.dlq', 0, %s, %s, 'InvalidEvent', 'x', 1, '2025-05-20')"
)


@pytest.fixture(scope="module")
def reports(postgres: EmbeddedPostgres) -> Iterator[tuple[QualityReport, QualityReport]]:
    """The report, and that of the same rows in another order."""
    with database_and_reader(postgres) as (connection, reader):
        for fact in with_faults():
            load(connection, [fact])
        for offset, day in enumerate((DAY, date(2025, 3, 1))):
            connection.execute(LETTER, (offset, key(1, day, 8)))
        yield report_of(reader, DAY, LAST), report_of(ShuffledReader(reader, 7), DAY, LAST)


@pytest.fixture(scope="module")
def report(reports: tuple[QualityReport, QualityReport]) -> QualityReport:
    return reports[0]


def test_days_without_events_are_shown(report: QualityReport) -> None:
    days = report.measures[report.measures["measure"] == "events_per_day"]

    assert days["count"].tolist() == [72, 0, 1]
    assert row_of(report, "days_without_events", "events")["examples"] == [str(GAP)]


@pytest.mark.parametrize(
    ("measure", "field", "count", "total"),
    [
        ("coverage", "entries", 73, 73),
        ("coverage", "outcomes", 12, 73),
        ("completeness", "entries.age_years", 288, 292),
        ("completeness", "outcomes.result", 48, 48),
        ("completeness", "events.technique", 12, 12),
        ("completeness", "events.observed_conditions.wind_m_s", 11, 12),
        ("unfinished", "events", 61, 73),
        ("out_of_range", "entries.weight_kg", 4, 292),
        ("missing_markets", "events", 1, 12),
        ("late", "observed", 1, 12),
        ("late", "measured", 1, 12),
        ("late", "listed", 0, 73),
        ("corrected", "events", 1, 73),
        ("corrected", "outcomes.result", 1, 48),
        ("regressed", "events", 1, 73),
        ("regressed", "events.technique", 1, 73),
    ],
)
def test_a_share_is_that_of_the_made_up_rows(
    report: QualityReport, measure: str, field: str, count: int, total: int
) -> None:
    row = row_of(report, measure, field)

    assert (row["count"], row["total"]) == (count, total)
    assert row["value"] == count / total


@pytest.mark.parametrize(
    ("measure", "field", "examples"),
    [
        ("contradictions", "shared_place", [key(5, DAY)]),
        ("contradictions", "wrong_winner", [key(8, DAY)]),
        ("contradictions", "early_start_with_place", [key(9, DAY)]),
        ("contradictions", "weather_lost", [key(10, DAY)]),
        ("contradictions", "starts_out_of_order", [key(12, DAY)]),
        ("contradictions", "no_place_no_code", []),
        ("duplicates", "payouts", [key(10, DAY), key(11, DAY)]),
        ("duplicates", "line_up", [key(1, LAST)]),
        ("duplicates", "start", [key(12, DAY)]),
        ("duplicates", "entity_in_event", []),
        ("dead_letters", "all", [key(1, DAY, 8)]),
        ("parked", "all", [key(1, DAY, 30)]),
        ("missing_market_rows", "transactions.place", [key(7, DAY)]),
    ],
)
def test_a_fault_is_counted_with_its_events(
    report: QualityReport, measure: str, field: str, examples: list[str]
) -> None:
    row = row_of(report, measure, field)

    assert row["examples"] == examples
    assert row["count"] == len(examples)


def test_a_new_code_is_one_that_no_earlier_row_has(report: QualityReport) -> None:
    assert row_of(report, "novel_values", "entries.class")["examples"] == ["0", "9"]


def test_a_shift_is_that_against_the_month_before(report: QualityReport) -> None:
    """All weights were above 70 kg and are below 60 kg; classes changed from 1 to 0 and 1."""
    assert row_of(report, "shift", "entries.weight_kg")["value"] > 1
    assert row_of(report, "shift", "entries.class")["value"] > 1


def test_delays_are_counted_from_the_start_and_from_the_first_fact(report: QualityReport) -> None:
    assert row_of(report, "delay_max", "observed")["value"] == (300 - 90) * 60
    assert row_of(report, "delay_median", "listed")["value"] < 0
    assert row_of(report, "correction_delay_median", "outcomes.result")["value"] == (400 - 140) * 60


def test_a_range_has_the_extremes_and_their_events(report: QualityReport) -> None:
    low = row_of(report, "minimum", "entries.weight_kg")

    assert (low["value"], low["examples"]) == (20, [key(2, DAY)])
    assert row_of(report, "maximum", "entries.weight_kg")["value"] == 54


def test_a_venue_has_its_own_shares(report: QualityReport) -> None:
    assert row_of(report, "coverage", "outcomes", venue=7)["count"] == 12
    assert row_of(report, "coverage", "outcomes", venue=1)["value"] == 0


def test_the_order_of_rows_does_not_matter(reports: tuple[QualityReport, QualityReport]) -> None:
    first, second = (sorted(map(str, each.measure_list)) for each in reports)

    assert first == second
    assert reports[0].finding_list == reports[1].finding_list


def test_the_worst_findings_come_first_and_fail_the_report(report: QualityReport) -> None:
    severities = report.findings["severity"].tolist()

    assert not report.is_good
    assert re.fullmatch(r"<QualityReport .*: \d+ errors, \d+ warnings>", repr(report))
    assert severities == sorted(severities)
    assert report.findings["threshold"].iloc[0] == "days"
    assert {"outcomes", "wrong-winner", "early-start", "parked", "dead-letters"} <= set(report.findings["threshold"])
