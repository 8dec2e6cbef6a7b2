"""Reads whole topics for an audit, and detects records that were deleted from the log outside of retention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import psycopg

from shared.broker.contract import Broker, Record, TopicPartition
from shared.broker.counting.read_range import read_range
from shared.broker.outbox_cursors import cursor_of
from shared.broker.postgres.frames import decode_batch
from shared.broker.postgres.log import LOCAL_PREFIX
from shared.broker.postgres.outbox import read_identity
from shared.errors import BrokerError
from shared.topics import (
    CLEAN,
    DEAD_LETTERS,
    FETCHER_CURSORS,
    LOADED,
    OUTBOX_CURSORS,
    OUTBOX_TOPICS,
    PREDICTIONS,
    RAW,
    retry_topic,
)

AuditConnection = psycopg.Connection[Any]
CommittedOffsets = Mapping[TopicPartition, int]
# By service, the topics whose positions the audit compares with records.
AUDITED_TOPICS = {"cleaner": [RAW], "loader": [CLEAN, PREDICTIONS, *DEAD_LETTERS], "predictor": [LOADED]}


class AuditedPositions(NamedTuple):
    """Consumer positions by service, and the fetcher's cursors by window."""

    positions: Mapping[str, CommittedOffsets]
    cursors: Mapping[str, bytes]


class Extent(NamedTuple):
    """The offsets that a partition should hold, `end` exclusive."""

    begin: int
    end: int


class Hole(NamedTuple):
    """Offsets that a partition should hold and does not, `end` exclusive."""

    tp: TopicPartition
    begin: int
    end: int


class TopicReading(Protocol):
    """Reads topics, one at a time. `extents` and `holes` describe the topic that was read last."""

    def records(self, topic: str) -> Iterator[Record]: ...

    extents: dict[TopicPartition, Extent]
    holes: list[Hole]


class LogReading:
    """Reads the embedded log, in one snapshot per topic. Its offsets are contiguous, so every gap is a hole."""

    def __init__(self, connection: AuditConnection, prefix: str = "") -> None:
        self.extents: dict[TopicPartition, Extent] = {}
        self.holes: list[Hole] = []
        self._connection = connection
        self._prefix = prefix

    def records(self, topic: str) -> Iterator[Record]:
        self.extents, self.holes = {}, []
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            partitions = self._connection.execute(
                "SELECT t.id, part.p, part.begin_off, part.end_off FROM broker.partitions part"
                " JOIN broker.topics t ON t.id = part.topic_id WHERE t.name = %s ORDER BY part.p",
                (self._prefix + topic,),
            ).fetchall()
            for topic_id, p, begin, end in partitions:
                tp = TopicPartition(topic, p)
                self.extents[tp] = Extent(begin, end)
                yield from self._partition(topic_id, tp, Extent(begin, end))

    def _partition(self, topic_id: int, tp: TopicPartition, extent: Extent) -> Iterator[Record]:
        expected = extent.begin
        with self._connection.cursor() as cursor:
            # Streamed batch by batch, because a whole topic may not fit into memory.
            batches = cursor.stream(
                "SELECT base_off, n, payload FROM broker.log WHERE topic_id = %s AND p = %s AND base_off + n > %s"
                " ORDER BY base_off",
                (topic_id, tp.partition, extent.begin),
            )
            for base, n, payload in batches:
                self._note_hole(tp, expected, base)
                expected = max(expected, base + n)
                try:
                    records = decode_batch(tp.topic, tp.partition, base, payload)
                except BrokerError:
                    self._note_hole(tp, base, base + n)
                    continue
                self._note_hole(tp, base + len(records), base + n)
                yield from (record for record in records if record.offset >= extent.begin)
        self._note_hole(tp, expected, extent.end)

    def _note_hole(self, tp: TopicPartition, begin: int, end: int) -> None:
        if begin < end:
            self.holes.append(Hole(tp, begin, end))


class BrokerReading:
    """Reads any broker through its contract. Kafka's offsets have gaps, so holes cannot be detected."""

    def __init__(self, broker: Broker) -> None:
        self.extents: dict[TopicPartition, Extent] = {}
        self.holes: list[Hole] = []
        self._broker = broker

    def records(self, topic: str) -> Iterator[Record]:
        tps = self._broker.partitions(topic)
        begins, ends = self._broker.begin_offsets(tps), self._broker.end_offsets(tps)
        self.extents = {tp: Extent(begins[tp], ends[tp]) for tp in tps}
        for batch in read_range(self._broker, {tp: (begins[tp], ends[tp]) for tp in tps}):
            yield from batch


def read_positions(broker: Broker) -> AuditedPositions:
    positions = {
        service: broker.committed(service, [*topics, retry_topic(service)])
        for service, topics in AUDITED_TOPICS.items()
    }
    return AuditedPositions(positions, broker.cursors(FETCHER_CURSORS))


def read_outbox(connection: AuditConnection, broker: Broker) -> dict[str, list[Record]]:
    """By topic, the records of the outbox that may not have been relayed to Kafka yet; some of them may have."""
    return {topic: list(_outbox_records(connection, broker, topic)) for topic in OUTBOX_TOPICS}


def _outbox_records(connection: AuditConnection, broker: Broker, topic: str) -> Iterator[Record]:
    local = LogReading(connection, LOCAL_PREFIX)
    local_records = list(local.records(topic))
    cursors = broker.cursors(OUTBOX_CURSORS) if local_records else {}
    identity = read_identity(connection)
    for record in local_records:
        relayed = cursor_of(cursors, identity, topic, record.partition)
        if relayed is None or record.offset >= relayed.offset:
            yield record
