"""Measurements of stored state on a real PostgreSQL, with the rights of the services."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services.notifier.settings import NotifierSettings
from shared.broker.contract import NewRecord
from shared.broker.counting.backlog import GaplessBacklog
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.log import LOCAL_PREFIX
from shared.database.connection import DbConnection
from shared.errors import TransientError
from shared.ops.tables.operations import create, finish
from shared.ops.tables.orders import give_order
from shared.runtime.control_measurements import (
    OpenOperations,
    control_measurements,
    measure_disk,
    measure_orders,
    measure_outbox,
    measure_removed_records,
    measure_server,
)
from shared.runtime.lag import LagMeter
from shared.runtime.measurements import GaugeRows, Measurements
from shared.runtime.metrics import Metrics
from shared.settings.sections import DatabaseSettings
from shared.topics import LOADED, OUTBOX_TOPICS, PREDICTIONS, RAW, TopicSpec
from tests.waiting import wait_until

NOTIFIER = "headrace_notifier"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def connection(database_url: str) -> Iterator[DbConnection]:
    """A connection with the rights of the notifier."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"SET ROLE {NOTIFIER}")
        yield connection


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"headrace_{name}", labels)


def test_the_age_of_an_order_is_measured_by_topic_and_desired_state(connection: DbConnection, metrics: Metrics) -> None:
    measure = measure_orders("notifier", metrics)
    give_order(connection, "notifier", LOADED, "paused", "me")
    connection.execute("RESET ROLE")
    give_order(connection, "cleaner", RAW, "paused", "me")
    connection.execute(f"SET ROLE {NOTIFIER}")
    connection.execute("UPDATE ops.orders SET ordered_at = now() - interval '1 day' WHERE service = 'notifier'")

    measure(connection)
    paused_s = value(metrics, "order_age_seconds", topic=LOADED, desired="paused")
    give_order(connection, "notifier", LOADED, "running", "me")
    measure(connection)

    assert paused_s == pytest.approx(86_400, abs=60)
    assert value(metrics, "order_age_seconds", topic=RAW, desired="paused") is None
    assert value(metrics, "order_age_seconds", topic=LOADED, desired="paused") is None
    assert value(metrics, "order_age_seconds", topic=LOADED, desired="running") == pytest.approx(0, abs=60)


class TestOpenOperations:
    @pytest.fixture
    def now_s(self) -> list[float]:
        return [1000.0]

    @pytest.fixture
    def measure(self, metrics: Metrics, now_s: list[float]) -> OpenOperations:
        return OpenOperations("notifier", metrics, lambda: now_s[0])

    def test_an_operation_is_idle_until_its_progress_changes(
        self, connection: DbConnection, metrics: Metrics, measure: OpenOperations, now_s: list[float]
    ) -> None:
        operation = create(connection, "notifier", "replay", {}, "me", "r")
        idle = []

        for progress in (0.0, 0.0, 0.5, 0.5):
            connection.execute(
                "UPDATE ops.operations SET progress = %s, updated_at = clock_timestamp() WHERE id = %s",
                (progress, operation.id),
            )
            measure(connection)
            idle.append(value(metrics, "operation_idle_seconds", kind="replay"))
            now_s[0] += 600

        assert idle == [0, 600, 0, 600]
        assert value(metrics, "operations_open", kind="replay", state="waiting") == 1

    def test_a_paused_operation_is_not_idle(
        self, connection: DbConnection, metrics: Metrics, measure: OpenOperations, now_s: list[float]
    ) -> None:
        operation = create(connection, "notifier", "replay", {}, "me", "r")
        connection.execute("UPDATE ops.operations SET wanted = 'pause' WHERE id = %s", (operation.id,))

        measure(connection)
        now_s[0] += 600
        measure(connection)

        assert value(metrics, "operation_idle_seconds", kind="replay") is None

    def test_an_operation_that_has_ended_is_not_counted(
        self, connection: DbConnection, metrics: Metrics, measure: OpenOperations
    ) -> None:
        operation = create(connection, "notifier", "replay", {}, "me", "r")
        measure(connection)

        finish(connection, operation.id, "failed", "no reason")
        measure(connection)

        assert value(metrics, "operations_open", kind="replay", state="waiting") is None
        assert value(metrics, "operation_idle_seconds", kind="replay") is None


def test_connections_of_other_roles_and_databases_count(
    database_url: str, connection: DbConnection, metrics: Metrics
) -> None:
    measure = measure_server(metrics)
    measure(connection)
    before = value(metrics, "database_connections") or 0

    with psycopg.connect(database_url), psycopg.connect(database_url):
        wait_until(lambda: _measured(measure, connection, metrics) >= before + 2)

    limit = value(metrics, "database_connections_limit")
    assert limit is not None
    assert before + 2 < limit
    assert (value(metrics, "database_size_bytes") or 0) > 1_000_000


def _measured(measure: Any, connection: DbConnection, metrics: Metrics) -> float:
    measure(connection)
    return value(metrics, "database_connections") or 0


def test_the_disk_of_a_directory_that_does_not_exist_yet_is_measured(
    tmp_path: Path, connection: DbConnection, metrics: Metrics
) -> None:
    measure_disk(tmp_path / "not" / "yet", metrics)(connection)

    assert 0 < (value(metrics, "disk_free_bytes") or 0) <= (value(metrics, "disk_size_bytes") or 0)


def test_the_outbox_is_measured_in_records_and_by_the_age_of_the_oldest(
    database_url: str, connection: DbConnection, metrics: Metrics
) -> None:
    with closing(PostgresBroker(database_url)) as broker:
        broker.ensure_topics([TopicSpec(LOCAL_PREFIX + topic, 1, None) for topic in OUTBOX_TOPICS])
        with closing(broker.producer("loader-0")) as producer, producer.unit() as unit:
            unit.append([NewRecord(LOCAL_PREFIX + LOADED, b"k", b"v", {}, 0)] * 3)
            unit.commit()
    later_s = time.time() + 60

    measure_outbox(metrics, lambda: later_s)(connection)

    assert value(metrics, "outbox_records", topic=LOADED) == 3
    assert value(metrics, "outbox_age_seconds", topic=LOADED) == pytest.approx(60, abs=30)
    assert value(metrics, "outbox_records", topic="loader.dlq") == 0
    assert value(metrics, "outbox_age_seconds", topic="loader.dlq") == 0


def test_offsets_that_retention_removed_unread_are_measured(
    database_url: str, connection: DbConnection, metrics: Metrics
) -> None:
    """The embedded log does not remove unread records; here the begin of the partition is moved by hand."""
    with closing(PostgresBroker(database_url)) as broker:
        broker.ensure_topics([TopicSpec(PREDICTIONS, 2), TopicSpec(LOADED, 1)])
        with closing(broker.producer("x")) as producer, producer.unit() as unit:
            unit.append([NewRecord(PREDICTIONS, b"k", b"v", {}, p) for p in (0, 0, 0, 1)])
            unit.commit()
        with closing(broker.consumer("notifier", [PREDICTIONS], "0")) as consumer:
            wait_until(lambda: consumer.poll(0.1, 10).records)  # creates the positions, at 0
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute("UPDATE broker.partitions SET begin_off = 2 WHERE p = 0 AND end_off = 3")
        meter = LagMeter(broker, "notifier", GaplessBacklog(database_url))

        measure_removed_records(meter.count_removed, [PREDICTIONS, LOADED], metrics)(connection)
        meter.close()

    assert value(metrics, "unread_removed_offsets", topic=PREDICTIONS) == 2
    assert value(metrics, "unread_removed_offsets", topic=LOADED) == 0


def test_every_service_measures_with_its_own_rights(
    database_url: str, connection: DbConnection, metrics: Metrics, tmp_path: Path
) -> None:
    settings = NotifierSettings(database=DatabaseSettings(url="postgresql:///elsewhere"), data_dir=tmp_path)

    for measure in control_measurements(settings, metrics, [LOADED], lambda _: {}):
        measure(connection)

    assert value(metrics, "disk_size_bytes")


class TestTheTask:
    def test_a_failing_measurement_does_not_prevent_the_others(self, database_url: str, metrics: Metrics) -> None:
        def failing(connection: DbConnection) -> None:
            connection.execute("SELECT * FROM no_such_table")

        def unavailable(_connection: DbConnection) -> None:
            raise TransientError("away")

        def working(connection: DbConnection) -> None:
            connection.execute("SELECT 1")
            metrics.parked_rows.labels("settled").set(7)

        with closing(Measurements(database_url, "loader", metrics, [failing, unavailable, working])) as task:
            task.measure()

        assert value(metrics, "parked_rows", kind="settled") == 7
        assert value(metrics, "measured_timestamp_seconds") == 0

    def test_it_measures_at_once_and_again_until_it_is_stopped(self, database_url: str, metrics: Metrics) -> None:
        counts: list[int] = []
        task = Measurements(database_url, "loader", metrics, [lambda _: counts.append(1)], interval_s=0.01)
        stop = threading.Event()
        thread = threading.Thread(target=task, args=(stop,))

        thread.start()
        wait_until(lambda: len(counts) >= 3)
        stop.set()
        thread.join()

        assert value(metrics, "measured_timestamp_seconds") == pytest.approx(time.time(), abs=60)

    def test_it_keeps_the_values_while_the_database_is_unavailable(self, metrics: Metrics) -> None:
        metrics.parked_rows.labels("settled").set(7)
        task = Measurements("host=127.0.0.1 port=1", "loader", metrics, [measure_server(metrics)])

        task.measure()

        assert value(metrics, "parked_rows", kind="settled") == 7
        assert value(metrics, "measured_timestamp_seconds") == 0


def test_rows_of_a_gauge_that_are_gone_are_removed(metrics: Metrics) -> None:
    rows = GaugeRows(metrics.parked_rows)
    rows.replace({("observed",): 1, ("settled",): 2})

    rows.replace({("settled",): 3})

    assert value(metrics, "parked_rows", kind="observed") is None
    assert value(metrics, "parked_rows", kind="settled") == 3
