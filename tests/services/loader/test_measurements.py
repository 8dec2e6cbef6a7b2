"""Metrics of facts on a real PostgreSQL: parked facts, started events, the last audit, and the age of live facts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from services.loader.fact_age import live_age_s
from services.loader.load import Loader
from services.loader.postgres_measurements import measure_audit, measure_parked, measure_quality, measure_started_events
from shared.clock import VirtualClock
from shared.ops.tables import audit_results, quality_results
from shared.records import FETCHED_AT, DecodedRecord
from shared.runtime.metrics import Metrics
from shared.topics import retry_topic
from tests.services.loader.conftest import Load
from tests.services.loader.facts import (
    DAY,
    START,
    StillClock,
    at,
    listed,
    live,
    observed,
    prediction,
    received,
    settled,
)

Connection = psycopg.Connection[Any]
LOADER = "headrace_loader"


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"headrace_{name}", labels)


def predict(connection: Connection, number: int, *, shadow: bool = False) -> None:
    connection.execute(
        "INSERT INTO facts.predictions SELECT %s, id, 'card', 'm1', now(), %s, 'f', %s FROM facts.events"
        " WHERE number = %s",
        (uuid4(), shadow, Jsonb([]), number),
    )


def test_parked_records_are_counted_by_kind(
    connection: Connection, load: Load, loader: Loader, metrics: Metrics
) -> None:
    measure = measure_parked(metrics)
    load(settled(1), settled(2), observed(1), listed(3))
    loader.handle([prediction(2)], connection)
    connection.execute(f"SET ROLE {LOADER}")

    measure(connection)
    parked = tuple(value(metrics, "parked_rows", kind=kind) for kind in ("settled", "observed", "prediction"))
    connection.execute("RESET ROLE")
    load(listed(1))
    measure(connection)

    assert parked == (2, 1, 1)
    assert value(metrics, "parked_rows", kind="settled") == 1
    assert value(metrics, "parked_rows", kind="observed") == 0


def test_events_that_started_in_the_last_hour_are_counted_by_whether_they_were_predicted(
    connection: Connection, load: Load, metrics: Metrics
) -> None:
    """Events start every 30 minutes: at 45 minutes, 1 and 2 have started and 3 has not."""
    load(*(listed(number) for number in (1, 2, 3)))
    predict(connection, 1)
    predict(connection, 2, shadow=True)
    connection.execute(f"SET ROLE {LOADER}")

    measure_started_events(metrics, StillClock(at(45)))(connection)

    assert value(metrics, "started_events", predicted="yes") == 1
    assert value(metrics, "started_events", predicted="no") == 1


@pytest.mark.parametrize(
    ("fact", "minutes"),
    [
        (listed(1, known=10), 15),  # listed after its start
        (listed(1), 90),  # started more than an hour ago
        (listed(1), -5),  # not started
    ],
)
def test_an_event_that_cannot_be_predicted_or_is_over_does_not_count(
    connection: Connection, load: Load, metrics: Metrics, fact: Any, minutes: float
) -> None:
    load(fact)

    measure_started_events(metrics, StillClock(at(minutes)))(connection)

    assert value(metrics, "started_events", predicted="no") == 0


def test_a_cancelled_event_does_not_count(connection: Connection, load: Load, metrics: Metrics) -> None:
    load(listed(1), settled(1, known=-20, status="cancelled", outcomes=(), transactions=()))

    measure_started_events(metrics, StillClock(at(5)))(connection)

    assert value(metrics, "started_events", predicted="no") == 0


def test_the_newest_audit_is_measured(connection: Connection, metrics: Metrics) -> None:
    measure = measure_audit(metrics)
    measure(connection)
    before = value(metrics, "audit_timestamp_seconds")
    for missing in (5, 0):
        audit_results.store(connection, {"loaded": 10, "missing": missing}, {"missing": missing, "twice": 1})
        connection.execute("SELECT pg_sleep(0.001)")
    connection.execute(f"SET ROLE {LOADER}")

    measure(connection)

    assert before == 0
    assert value(metrics, "audit_records", fate="missing") == 0
    assert value(metrics, "audit_records", fate="loaded") == 10
    assert value(metrics, "audit_findings", kind="twice") == 1
    assert value(metrics, "audit_timestamp_seconds") == pytest.approx(datetime.now(UTC).timestamp(), abs=600)


def test_the_newest_quality_report_is_measured(connection: Connection, metrics: Metrics) -> None:
    measure, days = measure_quality(metrics), (DAY, DAY)
    measure(connection)
    before = value(metrics, "quality_timestamp_seconds")
    for count in (3, 0):
        quality_results.store(connection, days, {"days": count, "outcomes": 1}, ["a finding"])
    connection.execute(f"SET ROLE {LOADER}")

    measure(connection)

    assert before == 0
    assert value(metrics, "quality_findings", threshold="days") == 0
    assert value(metrics, "quality_findings", threshold="outcomes") == 1
    assert value(metrics, "quality_timestamp_seconds") == pytest.approx(datetime.now(UTC).timestamp(), abs=600)


def test_only_the_last_results_of_quality_reports_are_kept(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO ops.quality_results (first_day, last_day, broken, findings)"
        " SELECT '2026-01-01', '2026-01-01', '{}', '[]' FROM generate_series(1, %s)",
        (quality_results.KEPT_RESULTS,),
    )

    quality_results.store(connection, (DAY, DAY), {}, [str(n) for n in range(quality_results.MAX_FINDINGS + 1)])

    row = connection.execute("SELECT count(*) FROM ops.quality_results").fetchone()
    newest = quality_results.newest(connection)
    assert row == (quality_results.KEPT_RESULTS,)
    assert newest is not None
    assert len(newest.findings) == quality_results.MAX_FINDINGS


def test_only_the_last_results_of_audits_are_kept(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO ops.audit_results (fates, findings) SELECT '{}', '{}' FROM generate_series(1, %s)",
        (audit_results.KEPT_RESULTS,),
    )

    audit_results.store(connection, {}, {})

    row = connection.execute("SELECT count(*) FROM ops.audit_results").fetchone()
    assert row == (audit_results.KEPT_RESULTS,)


def test_the_age_of_a_live_fact_is_the_time_since_its_fetch() -> None:
    assert live_age_s(live(listed()), StillClock()) == 20
    assert live_age_s(live(listed(), seconds=-5), StillClock()) == 0


def test_the_age_is_in_real_seconds() -> None:
    clock = VirtualClock(START, speed=10, epoch_s=0)
    fetched_at = (clock.now() - timedelta(seconds=200)).isoformat().encode()
    item = received(listed())
    item = item._replace(record=item.record._replace(headers={**item.record.headers, FETCHED_AT: fetched_at}))

    assert live_age_s(item, clock) == pytest.approx(20, abs=5)


@pytest.mark.parametrize(
    "item",
    [
        received(listed()),
        live(listed(), revision="000000000001"),
        live(listed(), record={"topic": retry_topic("loader")}),
        live(listed(), record={"headers": {FETCHED_AT: b"yesterday"}}),
        live(listed(), record={"headers": {FETCHED_AT: b"2031-05-06T03:00:00"}}),
    ],
    ids=["past day", "replayed", "redriven", "no time", "no zone"],
)
def test_other_facts_have_no_age(item: DecodedRecord) -> None:
    assert live_age_s(item, StillClock()) is None


def test_only_facts_that_are_stored_are_observed(connection: Connection, metrics: Metrics) -> None:
    loader = Loader(StillClock(), metrics)

    loader.handle([live(listed(1), 20), live(settled(2), 500)], connection)  # the second one is parked

    assert value(metrics, "live_fact_age_seconds_count") == 1
    assert value(metrics, "live_fact_age_seconds_sum") == 20
