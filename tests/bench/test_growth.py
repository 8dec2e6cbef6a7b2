"""The records of `make bench-growth` are valid facts of different events; its report compares last and first months."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from bench.growth.chart import draw
from bench.growth.records import EVENTS_PER_DAY, EVENTS_PER_MONTH, RECORDS_PER_EVENT, make_month
from bench.growth.report import growth_of, report_of
from bench.growth.site import CpuTime, LoadedPart, TableStatistics
from shared.broker.contract import Record
from shared.events import Listed, Observed, Settled
from shared.records import decode

TABLE = TableStatistics("events", 100, 5, 100, 10, 7, 0, 1, 459_200, 45_920)


def month_of(loader_us: float) -> LoadedPart:
    return LoadedPart(1000, 2.0, CpuTime(loader_us / 1000, 0.1, 0.2), [TABLE])


def test_a_day_has_a_card_an_observation_and_a_result_of_each_event() -> None:
    day = list(islice(make_month(14), EVENTS_PER_DAY * RECORDS_PER_EVENT))
    facts = [
        decode(Record("clean-events", 0, at, 0, made.key, made.value, made.headers)).message
        for at, made in enumerate(day)
    ]

    assert Counter(map(type, facts)) == {Listed: EVENTS_PER_DAY, Observed: EVENTS_PER_DAY, Settled: EVENTS_PER_DAY}
    assert len({(fact.event_key, fact.kind) for fact in facts}) == len(facts)
    assert len({made.headers["event_id"] for made in day}) == len(day)
    assert {fact.event_key[:16] for fact in facts} == {"bench:2012-03-01"}


def test_a_month_can_be_made_again() -> None:
    first, second = make_month(3), make_month(3)

    assert [each.value for each in islice(first, 30)] == [each.value for each in islice(second, 30)]


def test_the_report_says_whether_the_rate_holds(tmp_path: Path) -> None:
    months = [month_of(us) for us in (100, 100, 100, 160, 160, 160)]

    report = report_of(months, [], [])

    assert growth_of(months) == pytest.approx(260 / 200)
    assert "last months / first months: 1.30, NOT within the bar of 1.2" in report
    assert "wrote 0 rows" in report
    assert f"| `events` | 100 | 10 | 70% | 5 | 1 | {459_200 / 6 / EVENTS_PER_MONTH:.1f} |" in report
    draw(months, tmp_path / "growth.svg")
    assert (tmp_path / "growth.svg").read_text().startswith("<?xml")
