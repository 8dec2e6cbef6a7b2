"""Measures what every service can read: its orders and operations, the database server, the disk, the outbox, and
records that retention removed unread."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.broker.contract import TopicPartition
from shared.broker.postgres.log import LOCAL_PREFIX
from shared.broker.postgres.retention import overdue
from shared.database.connection import DbConnection
from shared.runtime.measurements import GaugeRows, Measurement
from shared.runtime.metrics import Metrics
from shared.settings.sections import ServiceSettings
from shared.topics import DATABASE_POSITION_SERVICES, OUTBOX_TOPICS

_ORDERS = (
    "SELECT topic, desired, extract(epoch FROM clock_timestamp() - ordered_at)::double precision FROM ops.orders"
    " WHERE service = %s"
)
_OPERATIONS = (
    "SELECT id, kind, state, wanted, progress, counts::text FROM ops.operations"
    " WHERE service = %s AND finished_at IS NULL"
)
# numbackends is visible to every role; the rows of other roles in pg_stat_activity are not.
_SERVER = (
    "SELECT (SELECT sum(numbackends) FROM pg_stat_database WHERE datid <> 0)::bigint,"
    " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int,"
    " pg_database_size(current_database())"
)
_OUTBOX = (
    "SELECT topic.name, coalesce(sum(batch.n), 0)::bigint, min(batch.first_ms) FROM broker.topics topic"
    " LEFT JOIN broker.log batch ON batch.topic_id = topic.id WHERE topic.name = ANY(%s) GROUP BY topic.name"
)


CountRemoved = Callable[[Sequence[str]], Mapping[TopicPartition, int]]
"""Counts the offsets that retention removed before the service handled them (LagMeter.count_removed)."""


def control_measurements(
    settings: ServiceSettings, metrics: Metrics, topics: Sequence[str], count_removed: CountRemoved | None
) -> list[Measurement]:
    """What every service measures. `topics`: those that it reads, if `count_removed` is given."""
    measurements: list[Measurement] = [
        measure_orders(settings.name, metrics),
        OpenOperations(settings.name, metrics),
        measure_server(metrics),
        measure_disk(settings.data_dir, metrics),
        measure_log_retention(metrics),
    ]
    if settings.name in DATABASE_POSITION_SERVICES:
        measurements.append(measure_outbox(metrics))
    if count_removed is not None:
        measurements.append(measure_removed_records(count_removed, topics, metrics))
    return measurements


def measure_orders(service: str, metrics: Metrics) -> Measurement:
    """Measures the age of the newest order of each topic of the service."""
    ages = GaugeRows(metrics.order_age_seconds)

    def orders(connection: DbConnection) -> None:
        rows = connection.execute(_ORDERS, (service,)).fetchall()
        ages.replace({(topic, desired): age_s for topic, desired, age_s in rows})

    return orders


class OpenOperations:
    """Measures the open operations of a service, and for how long none of them has progressed.

    `updated_at` of an operation also changes without progress, so this object remembers the progress that it saw.
    """

    def __init__(self, service: str, metrics: Metrics, now_s: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._open = GaugeRows(metrics.operations_open)
        self._idle = GaugeRows(metrics.operation_idle_seconds)
        self._now_s = now_s
        self._since_s: dict[str, tuple[tuple[Any, ...], float]] = {}

    def __call__(self, connection: DbConnection) -> None:
        rows = connection.execute(_OPERATIONS, (self._service,)).fetchall()
        now_s = self._now_s()
        before, self._since_s = self._since_s, {}
        counts: dict[tuple[str, ...], float] = {}
        idle: dict[tuple[str, ...], float] = {}
        for id_, kind, state, wanted, progress, done in rows:
            counts[kind, state] = counts.get((kind, state), 0) + 1
            seen = (state, wanted, progress, done)
            known = before.get(id_)
            self._since_s[id_] = known if known is not None and known[0] == seen else (seen, now_s)
            if wanted != "pause":
                idle[kind,] = max(idle.get((kind,), 0.0), now_s - self._since_s[id_][1])
        self._open.replace(counts)
        self._idle.replace(idle)


def measure_server(metrics: Metrics) -> Measurement:
    """Measures the connections to the database server and the size of the database."""

    def server(connection: DbConnection) -> None:
        row = connection.execute(_SERVER).fetchone()
        assert row is not None  # noqa: S101  # it has no WHERE
        used, limit, size_bytes = row
        metrics.database_connections.set(used)
        metrics.database_connections_limit.set(limit)
        metrics.database_size_bytes.set(size_bytes)

    return server


def measure_disk(directory: Path, metrics: Metrics) -> Measurement:
    """Measures the disk with the directory, or with its parent while it does not exist."""

    def disk(_connection: DbConnection) -> None:
        existing = next(each for each in (directory.absolute(), *directory.absolute().parents) if each.exists())
        usage = shutil.disk_usage(existing)
        metrics.disk_free_bytes.set(usage.free)
        metrics.disk_size_bytes.set(usage.total)

    return disk


def measure_log_retention(metrics: Metrics) -> Measurement:
    """Measures for how long batches of the embedded log should have been deleted, by topic."""
    lags = GaugeRows(metrics.retention_lag_seconds)

    def log_retention(connection: DbConnection) -> None:
        seconds: dict[tuple[str, ...], float] = {}
        for each in overdue(connection):
            seconds[each.topic,] = max(each.seconds, seconds.get((each.topic,), 0.0))
        lags.replace(seconds)

    return log_retention


def measure_background(still: Callable[[], Mapping[str, float]], metrics: Metrics) -> Measurement:
    """Measures for how long each background task has not moved. `still`: returns the seconds by task."""
    seconds = GaugeRows(metrics.background_stall_seconds)

    def background(_connection: DbConnection) -> None:
        seconds.replace({(task,): idle_s for task, idle_s in still().items()})

    return background


def measure_outbox(metrics: Metrics, now_s: Callable[[], float] = time.time) -> Measurement:
    """Measures the records that the relay has not copied to Kafka yet."""
    records, ages = GaugeRows(metrics.outbox_records), GaugeRows(metrics.outbox_age_seconds)
    names = [LOCAL_PREFIX + topic for topic in OUTBOX_TOPICS]

    def outbox(connection: DbConnection) -> None:
        rows = connection.execute(_OUTBOX, (names,)).fetchall()
        records.replace({(name.removeprefix(LOCAL_PREFIX),): count for name, count, _ in rows})
        ages.replace(
            {
                (name.removeprefix(LOCAL_PREFIX),): 0.0 if oldest_ms is None else max(0.0, now_s() - oldest_ms / 1000)
                for name, _, oldest_ms in rows
            }
        )

    return outbox


def measure_removed_records(count_removed: CountRemoved, topics: Sequence[str], metrics: Metrics) -> Measurement:
    """Measures the offsets that retention removed before the service handled them."""

    def removed_records(_connection: DbConnection) -> None:
        removed = count_removed(topics)
        for topic in topics:
            metrics.unread_removed_offsets.labels(topic).set(
                sum(count for tp, count in removed.items() if tp.topic == topic)
            )

    return removed_records
