"""Heartbeats in a real database."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from shared.errors import ConfigError, HeadraceError, TransientError
from shared.runtime.metrics import Metrics
from shared.runtime.process.replicas import ReplicaHeartbeat
from tests.proxy import proxied_conninfo
from tests.shared.database.blocking_proxy import silent_proxy
from tests.shared.runtime.views import BrokenView, GivenView
from tests.waiting import DEADLINE_S, terminate_backends, wait_until

Database = psycopg.Connection[tuple[Any, ...]]
LAG = {"topic": "t", "partition": 0, "position": 3, "end": 5, "records": 2, "seconds": 1.5}


def guard(_name: str, work: Callable[[], None]) -> None:
    work()


def heartbeat(
    url: str, view: GivenView, interval_s: float = 0.02, metrics: Metrics | None = None, answer_s: float = DEADLINE_S
) -> ReplicaHeartbeat:
    return ReplicaHeartbeat(url, view, "http://127.0.0.1:1", guard, metrics or Metrics(), interval_s, answer_s=answer_s)


def rows(database: Database) -> list[tuple[Any, ...]]:
    return database.execute(
        "SELECT service, replica, pid, admin_url, state, ready, lag_records, detail FROM ops.replicas"
    ).fetchall()


def test_a_replica_writes_its_row_and_deletes_it_at_the_end(database_url: str, database: Database) -> None:
    view = GivenView(detail={"since": datetime(2026, 1, 1, tzinfo=UTC)}, partitions=[LAG, LAG])

    with heartbeat(database_url, view):
        row = wait_until(lambda: rows(database))[0]

    detail = {"since": "2026-01-01T00:00:00+00:00"}
    assert row == ("loader", "r", os.getpid(), "http://127.0.0.1:1", "running", True, 4, detail)
    assert rows(database) == []


def test_a_heartbeat_follows_the_view(database_url: str, database: Database) -> None:
    view = GivenView()

    with heartbeat(database_url, view):
        wait_until(lambda: rows(database))
        view.state, view.readiness = "backing off", (False, "the broker is away")
        row = wait_until(lambda: [row for row in rows(database) if row[4] == "backing off"])[0]

    assert row[5:] == (False, None, {"not_ready": "the broker is away"})


def test_a_heartbeat_sets_the_metric_of_readiness(database_url: str, database: Database) -> None:
    view, metrics = GivenView(), Metrics()

    with heartbeat(database_url, view, metrics=metrics):
        wait_until(lambda: metrics.registry.get_sample_value("headrace_ready") == 1)
        view.readiness = (False, "the broker is away")
        wait_until(lambda: metrics.registry.get_sample_value("headrace_ready") == 0)


def test_a_heartbeat_sets_the_metrics_of_the_lag(database_url: str, database: Database) -> None:
    metrics = Metrics()

    with heartbeat(database_url, GivenView(partitions=[LAG]), metrics=metrics):
        wait_until(lambda: rows(database))

    labels = {"topic": "t", "partition": "0"}
    assert metrics.registry.get_sample_value("headrace_consumer_lag_records", labels) == 2
    assert metrics.registry.get_sample_value("headrace_consumer_lag_seconds", labels) == 1.5


def test_a_heartbeat_reports_the_lag_by_topic(database_url: str, database: Database) -> None:
    other = {**LAG, "topic": "u", "records": 0, "seconds": None}
    with heartbeat(database_url, GivenView(partitions=[LAG, {**LAG, "partition": 1, "seconds": 9}, other])):
        row = wait_until(lambda: database.execute("SELECT lag FROM ops.replicas WHERE lag IS NOT NULL").fetchone())

    assert row == ({"t": {"records": 4, "seconds": 9}, "u": {"records": 0, "seconds": None}},)


def test_a_lag_is_stored_once_for_all_replicas(database_url: str, database: Database) -> None:
    other = {**LAG, "topic": "u", "position": 9, "records": 0, "seconds": None}
    partitions = [LAG, {**LAG, "partition": 1, "seconds": 9}, other]

    with (
        heartbeat(database_url, GivenView(partitions=partitions)),
        heartbeat(database_url, GivenView(service="cleaner", partitions=[LAG])),
    ):
        wait_until(lambda: database.execute("SELECT FROM ops.lag_history").rowcount >= 3)
        database.execute("UPDATE ops.lag_history SET records = 100")
        database.execute("CREATE TEMP TABLE first AS SELECT seen_at FROM ops.replicas")
        wait_until(
            lambda: (
                database.execute("SELECT FROM ops.replicas WHERE seen_at > (SELECT max(seen_at) FROM first)").rowcount
                == 2
            )
        )

    minutes = database.execute("SELECT at, array_agg(DISTINCT records) FROM ops.lag_history GROUP BY at ORDER BY at")
    assert (first := minutes.fetchall()[0])[0].second == 0
    assert first[1] == [100]
    query = "SELECT DISTINCT service, topic, seconds, position FROM ops.lag_history ORDER BY 1, 2"
    assert database.execute(query).fetchall() == [
        ("cleaner", "t", 1.5, 3),
        ("loader", "t", 9, 6),
        ("loader", "u", None, 9),
    ]


@pytest.mark.parametrize("error", [TransientError("away"), ConfigError("the topic does not exist")], ids=repr)
def test_a_lag_that_cannot_be_read_is_unknown(database_url: str, database: Database, error: HeadraceError) -> None:
    with heartbeat(database_url, BrokenView(error=error)):
        row = wait_until(lambda: rows(database))[0]

    assert row[6] is None


def test_heartbeats_are_repeated(database_url: str, database: Database) -> None:
    with heartbeat(database_url, GivenView()):
        wait_until(lambda: rows(database))
        database.execute("CREATE TEMP TABLE first AS SELECT seen_at FROM ops.replicas")
        wait_until(lambda: database.execute("SELECT FROM ops.replicas r, first f WHERE r.seen_at > f.seen_at").rowcount)


def test_a_broken_connection_is_replaced(database_url: str, database: Database) -> None:
    def terminate() -> list[int]:
        return terminate_backends(
            database, "datname = current_database() AND application_name = 'headrace loader heartbeat'"
        )

    with heartbeat(database_url, GivenView()):
        wait_until(lambda: rows(database))
        first = wait_until(terminate)
        database.execute("DELETE FROM ops.replicas")
        wait_until(lambda: rows(database))
        second = wait_until(terminate)

    assert first != second


def test_a_database_error_does_not_stop_the_heartbeat(database_url: str, database: Database) -> None:
    database.execute("ALTER TABLE ops.replicas RENAME TO replicas_away")

    with heartbeat(database_url, GivenView()):
        database.execute("ALTER TABLE ops.replicas_away RENAME TO replicas")
        assert wait_until(lambda: rows(database))


def test_a_silent_connection_is_replaced(database_url: str, database: Database) -> None:
    with (
        silent_proxy(Path(str(conninfo_to_dict(database_url)["host"]))) as proxy,
        heartbeat(proxied_conninfo(database_url, proxy.directory), GivenView(), answer_s=1.0),
    ):
        wait_until(lambda: rows(database))
        proxy.start_dropping()
        wait_until(lambda: proxy.dropped_bytes)
        database.execute("DELETE FROM ops.replicas")
        proxy.stop_dropping()
        wait_until(lambda: rows(database))


def test_a_failed_end_leaves_the_row_with_its_cause(database_url: str, database: Database) -> None:
    with heartbeat(database_url, GivenView()) as replica:
        wait_until(lambda: rows(database))
        replica.fail("ValueError: no")

    assert rows(database)[0][4:] == ("stopped", False, None, {"cause": "ValueError: no"})


def test_the_row_of_a_successor_is_not_deleted(database_url: str, database: Database) -> None:
    with heartbeat(database_url, GivenView(), interval_s=60.0):
        wait_until(lambda: rows(database))
        database.execute("UPDATE ops.replicas SET pid = 1, incarnation = gen_random_uuid()")

    assert [row[2] for row in rows(database)] == [1]
