"""Relays the outbox to Kafka: the records that services wrote to the database together with their rows.

The outbox consists of the local topics of the embedded log. Their offsets are gapless and become visible in order, so
the progress of the relay is one position per partition. It is written to Kafka in the same transaction as the records
(topic `outbox-cursors`), so a relay that crashes at any moment continues exactly after its last transaction. A cursor
counts only for the outbox that it was made for: a new, restored or failed-over database is relayed from its begin, and
readers know the repeated records by their ids.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import closing

import structlog

from shared.broker.connect import connect
from shared.broker.contract import NewRecord, Reader, Record, TopicPartition
from shared.broker.outbox_cursors import (
    OutboxIdentity,
    OutboxPosition,
    OutboxStart,
    cursor_key,
    cursor_of,
    encode_cursor,
    start_of,
)
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.log import LOCAL_PREFIX
from shared.broker.postgres.outbox import PostgresOutbox, require_relayed
from shared.errors import TransientError
from shared.runtime.exit_codes import Background
from shared.runtime.loops.handler import SourceStep
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.metrics import Metrics
from shared.settings.sections import ServiceSettings
from shared.topics import OUTBOX_CURSORS, OUTBOX_TOPICS

BATCH_RECORDS = 2000
# How often an idle relay checks that the database is still at the state that it relayed.
VERIFY_EVERY_S = 1.0
RELAY = "relay"

log = structlog.get_logger(__name__)


class Outbox:
    """The source of a relay. Deletes the records that are in Kafka."""

    def __init__(self, conninfo: str, metrics: Metrics) -> None:
        self._log_reader = PostgresBroker(conninfo)
        self._outbox = PostgresOutbox(conninfo)
        self._metrics = metrics
        self._reader: Reader | None = None
        self._identity: OutboxIdentity | None = None
        self._relayed: dict[TopicPartition, OutboxPosition | None] = {}
        self._in_flight: dict[TopicPartition, OutboxPosition] = {}
        self._verified_at_s = 0.0

    def load(self, cursors: Mapping[str, bytes]) -> None:
        self.close()
        tps = [tp for topic in OUTBOX_TOPICS for tp in self._log_reader.partitions(LOCAL_PREFIX + topic)]
        identity = self._identity = self._outbox.identity()
        states = self._outbox.states(tps)
        relayed_to = {tp: cursor_of(cursors, identity, _topic_of(tp), tp.partition) for tp in tps}
        own = {tp: cursor for tp, cursor in relayed_to.items() if cursor is not None}
        prints = self._outbox.fingerprints({tp: cursor.offset for tp, cursor in own.items()})
        starts = {tp: start_of(states[tp], relayed_to[tp], prints.get(tp)) for tp in tps}
        self._relayed = {tp: states[tp].relayed for tp in tps}
        # A crashed relay may not have deleted what it relayed.
        self._acknowledge(
            {
                tp: OutboxPosition(cursor.offset, prints[tp])
                for tp, cursor in own.items()
                if tp in prints and starts[tp] == OutboxStart(cursor.offset)
            }
        )
        for tp, start in starts.items():
            self._report(tp, relayed_to[tp], start)
        self._reader = self._log_reader.reader(tps)
        for tp, start in starts.items():
            self._reader.seek(tp, start.offset)

    def next(self, timeout_s: float) -> SourceStep | None:
        """The next step. A call implies that the previous step is in Kafka, so its records are deleted. Raises
        TransientError if the database was restored or failed over meanwhile: load again."""
        assert self._reader is not None, "call load first"  # noqa: S101
        assert self._identity is not None  # noqa: S101  # set by load
        if self._in_flight:
            self._acknowledge(self._in_flight)
            self._in_flight = {}
        records = self._reader.poll(timeout_s, BATCH_RECORDS)
        if records or time.monotonic() > self._verified_at_s + VERIFY_EVERY_S:
            require_relayed(self._outbox.states(self._relayed), self._relayed)
            self._verified_at_s = time.monotonic()
        if not records:
            return None
        ends = {TopicPartition(each.topic, each.partition): each.offset + 1 for each in records}
        prints = self._outbox.fingerprints(ends)
        if ends.keys() - prints.keys():
            raise TransientError("the outbox has changed while it was read")
        self._in_flight = {tp: OutboxPosition(offset, prints[tp]) for tp, offset in ends.items()}
        cursors = {
            cursor_key(self._identity, _topic_of(tp), tp.partition): encode_cursor(position)
            for tp, position in self._in_flight.items()
        }
        return SourceStep([_kafka_record_of(each) for each in records], cursors)

    def close(self) -> None:
        self._in_flight = {}
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._log_reader.close()
        self._outbox.close()

    def _acknowledge(self, relayed: Mapping[TopicPartition, OutboxPosition]) -> None:
        self._outbox.acknowledge(self._relayed, relayed)
        self._relayed |= relayed

    def _report(self, tp: TopicPartition, cursor: OutboxPosition | None, start: OutboxStart) -> None:
        place = {"topic": _topic_of(tp), "partition": tp.partition}
        if start.foreign:
            self._metrics.outbox_restarts_total.labels(_topic_of(tp)).inc()
            log.error("outbox_relayed_again", cursor=cursor and cursor.offset, from_offset=start.offset, **place)
        if start.lost:
            self._metrics.records_lost_total.labels(RELAY, *place.values()).inc(start.lost)
            log.error("relayed_records_lost", cursor=cursor and cursor.offset, records=start.lost, **place)


def relay_tasks(settings: ServiceSettings, conninfo: str, metrics: Metrics) -> list[Background]:
    """The relay as a background task, for a broker that has an outbox. It runs in every replica that writes rows; one
    of them is active at a time."""

    def relay(stop: threading.Event) -> None:
        slot = f"{settings.name}-{settings.service.slot}"
        with closing(connect(settings, conninfo)) as broker, closing(Outbox(conninfo, metrics)) as outbox:
            PollerLoop(
                broker, service=RELAY, slot=slot, cursors=OUTBOX_CURSORS, source=outbox, metrics=metrics
            ).run_until(stop)

    return [relay]


def _topic_of(tp: TopicPartition) -> str:
    return tp.topic.removeprefix(LOCAL_PREFIX)


def _kafka_record_of(record: Record) -> NewRecord:
    return NewRecord(
        record.topic.removeprefix(LOCAL_PREFIX), record.key, record.value, record.headers, record.partition
    )
