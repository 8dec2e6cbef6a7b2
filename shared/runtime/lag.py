"""Measures the lag of a service, per partition and over all replicas, from the positions that its units advance.

Services that write rows keep their positions in the database, on both brokers. On Kafka transaction markers take
offsets too; an owner that has read past them reports its position in ops.observed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import psycopg
import structlog

from shared.broker.contract import Backlog, Broker, PartitionBacklog, TopicPartition
from shared.database.connection import ReconnectingConnection
from shared.errors import TransientError
from shared.ops.tables.orders import FRESH_S
from shared.settings.sections import ServiceSettings

# Offsets are rarely reset from outside. A `thorough` measurement checks at once.
LOOK_FOR_RESETS_S = 30.0

Offsets = Mapping[TopicPartition, int]
log = structlog.get_logger(__name__)


class PartitionLag(NamedTuple):
    """The lag of one partition. `seconds`: age of the oldest unread record, 0 if there is none, None if it is not known
    yet. `exact`: False if `records` is an estimate. `ignored_group_offset`: an offset that was committed on the broker
    for a group whose positions are in the database."""

    topic: str
    partition: int
    position: int
    end: int
    records: int
    seconds: float | None
    exact: bool
    ignored_group_offset: int | None


class LagMeter:
    """Thread-safe. It has a broker of its own, and closes it."""

    def __init__(
        self,
        broker: Broker,
        service: str,
        backlog: Backlog,
        *,
        observed_positions: Callable[[], Offsets] = dict,
        ignored_offsets: Callable[[Sequence[str]], Offsets] | None = None,
        now_s: Callable[[], float] = time.time,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """`observed_positions`: the positions that owners report. `ignored_offsets`: the offsets on the broker of a
        group that never commits there."""
        self._broker = broker
        self._service = service
        self._backlog = backlog
        self._observed_positions = observed_positions
        self._read_ignored_offsets = ignored_offsets
        self._now_s = now_s
        self._on_close = on_close
        self._lock = threading.Lock()
        self._ignored: Offsets = {}
        self._ignored_at_s = float("-inf")

    def measure(self, topics: Sequence[str], *, thorough: bool = False) -> list[PartitionLag]:
        """Raises TransientError when the broker does not answer. `thorough`: take the time to count exactly, and check
        for ignored offsets now."""
        with self._lock:
            committed = self._broker.committed(self._service, topics)
            ends = self._broker.end_offsets(list(committed))
            positions = self._with_observed(committed, ends)
            ignored = self._check_ignored_offsets(topics, thorough=thorough)
            ranges = {tp: (position, ends[tp]) for tp, position in positions.items()}
            waiting = self._backlog.measure(ranges, thorough=thorough)
        now_s = self._now_s()
        return [
            PartitionLag(
                *tp, position, end, waiting[tp].records, _seconds(waiting[tp], now_s), waiting[tp].exact,
                ignored.get(tp),
            )
            for tp, (position, end) in sorted(ranges.items())
        ]  # fmt: skip

    def count_removed(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Per partition, how many offsets retention removed after the position: records that cannot be handled any
        more. Raises TransientError when the broker does not answer."""
        with self._lock:
            committed = self._broker.committed(self._service, topics)
            begins = self._broker.begin_offsets(list(committed))
            positions = self._with_observed(committed, {})
        return {tp: max(0, begins[tp] - position) for tp, position in positions.items()}

    def ignored_offsets(self) -> dict[str, int]:
        """The offsets of the last check that were set from outside and have no effect, by "topic/partition"."""
        return {f"{tp.topic}/{tp.partition}": offset for tp, offset in sorted(self._ignored.items())}

    def close(self) -> None:
        self._backlog.close()
        self._broker.close()
        self._on_close()

    def _with_observed(self, committed: Offsets, limits: Offsets) -> dict[TopicPartition, int]:
        """The committed positions, or those that owners report if they are further on, each up to its limit."""
        observed = {tp: min(offset, limits.get(tp, offset)) for tp, offset in self._observed_positions().items()}
        return {tp: max(position, observed.get(tp, position)) for tp, position in committed.items()}

    def _check_ignored_offsets(self, topics: Sequence[str], *, thorough: bool) -> Offsets:
        if self._read_ignored_offsets is None or not (
            thorough or time.monotonic() > self._ignored_at_s + LOOK_FOR_RESETS_S
        ):
            return self._ignored
        offsets = {tp: offset for tp, offset in self._read_ignored_offsets(topics).items() if offset >= 0}
        for tp, offset in sorted(offsets.items()):
            if self._ignored.get(tp) != offset:
                log.warning(
                    "group_offset_ignored",
                    hint="the positions of this group are in the database: use a replay instead",
                    topic=tp.topic,
                    partition=tp.partition,
                    offset=offset,
                )
        self._ignored, self._ignored_at_s = offsets, time.monotonic()
        return offsets


def lag_meter_of(settings: ServiceSettings, conninfo: str, broker: Broker, *, in_database: bool) -> LagMeter:
    """Takes over `broker`. `in_database`: the group's positions are in the database, whatever the broker is."""
    ignored_offsets = partial(broker.group_offsets, settings.name) if in_database else None
    if broker.gapless:  # a position that has passed the last record is at the end
        return LagMeter(broker, settings.name, broker.backlog(), ignored_offsets=ignored_offsets)
    observed = ObservedPositions(conninfo, settings.name)
    return LagMeter(
        broker,
        settings.name,
        broker.backlog(),
        observed_positions=observed,
        ignored_offsets=ignored_offsets,
        on_close=observed.close,
    )


class ObservedPositions:
    """The positions that the owners of partitions report in ops.observed; empty while the database is unavailable."""

    def __init__(self, conninfo: str, service: str) -> None:
        self._link = ReconnectingConnection(conninfo, f"{service} lag", autocommit=True)
        self._service = service

    def __call__(self) -> Offsets:
        try:
            with self._link.use() as connection:
                rows = connection.execute(
                    "SELECT o.topic, o.p, max(o.position) FROM ops.observed o JOIN ops.replicas r USING"
                    " (service, replica) WHERE o.service = %s AND o.position IS NOT NULL AND r.state <> 'stopped'"
                    " AND r.seen_at > now() - make_interval(secs => %s) GROUP BY o.topic, o.p",
                    (self._service, FRESH_S),
                ).fetchall()
        except (TransientError, psycopg.Error):
            return {}
        return {TopicPartition(topic, p): offset for topic, p, offset in rows}

    def close(self) -> None:
        self._link.drop()


def _seconds(waiting: PartitionBacklog, now_s: float) -> float | None:
    if waiting.records == 0:
        return 0.0
    return None if waiting.oldest_ms is None else max(0.0, now_s - waiting.oldest_ms / 1000)
