"""The reading of the pipeline from real tables, with the rights of the notifier."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import psycopg
import pytest

from services.notifier.alerts.postgres_reading import read_pipeline
from services.notifier.alerts.reading import (
    ChangeReading,
    DeadLetterReading,
    ModelReading,
    PipelineReading,
    TopicBacklog,
    TrippedPartition,
    WindowReading,
)
from services.notifier.storage.postgres_bot_state import TOKEN, write_bot_state
from shared.ops.tables import audit_results, quality_results
from shared.topics import SERVICES
from tests.services.notifier.alerts.pipeline_rows import WINDOWS, Database, PipelineRows


@pytest.fixture
def rows(database: Database) -> PipelineRows:
    return PipelineRows(database)


@pytest.fixture
def notifier(database_url: str) -> Iterator[Database]:
    """A connection with the rights of the notifier."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET ROLE headrace_notifier")
        yield connection


def test_an_empty_database_gives_an_empty_reading(notifier: Database) -> None:
    reading = read_pipeline(notifier)

    assert reading == PipelineReading(at=reading.at)


def test_replicas_are_live_while_their_heartbeats_are_recent(rows: PipelineRows, notifier: Database) -> None:
    rows.replica("fetcher")
    rows.replica("cleaner", age_s=60)
    rows.replica("loader", state="stopped", ready=False, detail={"cause": "LookupError: x"})
    rows.replica("predictor", state="backing off", ready=False, detail={"not_ready": "the broker is away"})

    replicas = {each.service: each for each in read_pipeline(notifier).replicas}

    assert {service for service, each in replicas.items() if each.is_live} == {"fetcher", "predictor"}
    assert {service for service, each in replicas.items() if each.is_ready} == {"fetcher", "cleaner"}
    assert replicas["loader"].reason == "LookupError: x"
    assert replicas["predictor"].reason == "the broker is away"


def test_backlogs_come_from_live_replicas(rows: PipelineRows, notifier: Database) -> None:
    rows.replica(
        "cleaner", lag={"raw-events": {"records": 12, "seconds": 3.5}, "cleaner.retry": {"records": 1, "seconds": None}}
    )
    rows.replica("loader", lag={"clean-events": {"records": 9, "seconds": 1}}, age_s=60)

    backlogs = read_pipeline(notifier).backlogs

    assert backlogs == {
        ("cleaner", "raw-events"): TopicBacklog(12, 3.5),
        ("cleaner", "cleaner.retry"): TopicBacklog(1, None),
    }


def test_orders_and_operations_are_read(rows: PipelineRows, notifier: Database) -> None:
    rows.order("cleaner", "raw-events")
    rows.order("loader", "clean-events", "running")
    rows.operation("cleaner", "replay")
    rows.operation("loader", "redrive", "waiting")
    rows.operation("predictor", "replay", "paused")
    rows.operation("notifier", "replay", "succeeded")
    reading = read_pipeline(notifier)

    rows.operation("fetcher", "backfill")

    assert sorted(reading.paused) == [("cleaner", "raw-events")]
    assert sorted(reading.replaying) == ["cleaner", "loader"]
    assert (reading.loads_history, read_pipeline(notifier).loads_history) == (False, True)


def test_held_partitions_of_live_replicas_are_read(rows: PipelineRows, notifier: Database) -> None:
    rows.start("cleaner")
    rows.replica("loader", age_s=60)
    rows.partition("cleaner", "raw-events", 1, "tripped", "InvalidEvent: no")
    rows.partition("cleaner", "raw-events", 2, "running")
    rows.partition("loader", "clean-events", 1, "tripped")

    assert read_pipeline(notifier).held == (TrippedPartition("cleaner", "raw-events", 1, "InvalidEvent: no"),)


def test_windows_are_those_of_the_replica_that_fetches(rows: PipelineRows, notifier: Database) -> None:
    failed = [{"window": f"river/results/{n}", "error": "HTTP 500", "attempts": 3} for n in range(9)]
    counts = {**WINDOWS, "failed": 9, "suspect": 1, "due": 40}

    rows.replica("fetcher", detail={"windows": {}, "failed": []})
    unknown = read_pipeline(notifier).windows
    rows.replica("fetcher", detail={"windows": counts, "failed": failed})
    reading = read_pipeline(notifier)

    assert unknown is None
    assert reading.windows == WindowReading(40, 9, 1, tuple(f"river/results/{n}: HTTP 500" for n in range(5)))
    assert reading.loads_history


def test_changes_are_those_that_the_fetcher_reports_and_those_that_a_person_acknowledged(
    rows: PipelineRows, notifier: Database
) -> None:
    each = {"window": "river/results/2031-05-04", "at": "2031-05-05T15:10:00+00:00", "events": 2, "lines": ["a", "b"]}
    rows.replica("fetcher", detail={"windows": WINDOWS, "failed": []})
    older_version = read_pipeline(notifier).changes
    rows.replica("fetcher", detail={"windows": WINDOWS, "failed": [], "changes": [each]})

    assert older_version is None
    assert read_pipeline(notifier).changes == (
        ChangeReading("river/results/2031-05-04", datetime(2031, 5, 5, 15, 10, tzinfo=UTC), 2, ("a", "b")),
    )
    assert read_pipeline(notifier).acknowledged == ()


def test_scores_of_the_live_model_are_read(rows: PipelineRows, notifier: Database) -> None:
    def score(model: str, events: int, behind: list[float] | None) -> dict[str, object]:
        values = {"log_loss": 1.8, "base_log_loss": 1.7, "ece_all": None, "ece_top": None}
        return {"model": model, "state": "card", "events": events, "behind": behind, **values}

    scores = [score("m1", 300, [0.1, 0.05, 0.15]), score("m1", 90, None), score("shadow", 300, [0.1, 0.05, 0.15])]
    rows.replica("predictor", detail={"model_version": "m1", "scores": scores})

    assert read_pipeline(notifier).models == (ModelReading("m1", "card", 300, 1.8, 1.7, 0.05),)


def test_dead_letters_that_were_settled_are_not_open(rows: PipelineRows, notifier: Database) -> None:
    rows.dead_letters("cleaner", 3)
    rows.dead_letters("cleaner", 4, age_s=7_200, error="TimeoutError", begin=3)
    rows.settle("cleaner", 0)
    rows.dead_letters("loader", 1, age_s=7_200, error="LookupError")

    assert read_pipeline(notifier).dead_letters == {
        "cleaner": DeadLetterReading(6, 2, "InvalidEvent"),
        "loader": DeadLetterReading(1, 0, "LookupError"),
    }


def test_the_newest_audit_and_the_state_of_the_token_are_read(database: Database, notifier: Database) -> None:
    audit_results.store(database, {"loaded": 9}, {"missing": 0})
    audit_results.store(database, {"loaded": 9}, {"missing": 2})
    assert write_bot_state(notifier, TOKEN, {"accepted": False, "reason": "HTTP 401"})
    assert not write_bot_state(notifier, TOKEN, {"accepted": False, "reason": "HTTP 401"})

    reading = read_pipeline(notifier)

    assert reading.audit is not None
    assert reading.bot_token is not None
    assert (reading.audit.findings, reading.bot_token.is_accepted, reading.bot_token.reason) == (
        {"missing": 2}, False, "HTTP 401",
    )  # fmt: skip


def test_the_newest_quality_report_is_read(database: Database, notifier: Database) -> None:
    days = date(2026, 1, 1), date(2026, 1, 31)
    before = read_pipeline(notifier).quality
    quality_results.store(database, days, {"days": 2}, ["days without events: 2"])
    quality_results.store(database, days, {"days": 0}, [])

    reading = read_pipeline(notifier)

    assert before is None
    assert reading.quality is not None
    assert (reading.quality.days, reading.quality.broken) == ("2026-01-01 to 2026-01-31", {"days": 0})


def test_all_services_that_work_give_a_known_reading(rows: PipelineRows, notifier: Database) -> None:
    rows.start()

    reading = read_pipeline(notifier)

    assert [each.service for each in reading.replicas] == sorted(SERVICES)
    assert (reading.windows, reading.models) == (WindowReading(0, 0, 0), ())
