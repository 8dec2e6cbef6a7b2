"""Reads topics whole, as an audit must: also where records were taken out of the log behind everybody's back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol
from uuid import uuid5

import psycopg

from shared.broker.contract import Broker, Record, TopicPartition
from shared.broker.counting.read_range import sweep
from shared.broker.postgres.frames import decode_batch
from shared.broker.postgres.log import LOCAL
from shared.errors import BrokerError
from shared.events import NAMESPACE
from shared.records import LIVE
from shared.topics import OUTBOX_CURSORS

Rows = psycopg.Connection[Any]


class Extent(NamedTuple):
    """What a partition should hold: offsets from `begin` to before `end`."""

    begin: int
    end: int


class Hole(NamedTuple):
    """Offsets of a partition, `end` not among them, that must be there and are not."""

    tp: TopicPartition
    begin: int
    end: int


class TopicReading(Protocol):
    """Where an audit reads topics. One topic at a time; what `extents` and `holes` say is of the topic read last."""

    def records(self, topic: str) -> Iterator[Record]: ...

    extents: dict[TopicPartition, Extent]
    holes: list[Hole]


class LogReading:
    """The embedded log, in a snapshot of its own for each topic. It has no gaps, so every gap is a hole."""

    def __init__(self, connection: Rows, prefix: str = "") -> None:
        self.extents: dict[TopicPartition, Extent] = {}
        self.holes: list[Hole] = []
        self._connection = connection
        self._prefix = prefix

    def records(self, topic: str) -> Iterator[Record]:
        self.extents, self.holes = {}, []
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            found = self._connection.execute(
                "SELECT t.id, part.p, part.begin_off, part.end_off FROM broker.partitions part"
                " JOIN broker.topics t ON t.id = part.topic_id WHERE t.name = %s ORDER BY part.p",
                (self._prefix + topic,),
            ).fetchall()
            for topic_id, p, begin, end in found:
                tp = TopicPartition(topic, p)
                self.extents[tp] = Extent(begin, end)
                yield from self._partition(topic_id, tp, Extent(begin, end))

    def _partition(self, topic_id: int, tp: TopicPartition, extent: Extent) -> Iterator[Record]:
        expected = extent.begin
        with self._connection.cursor() as cursor:
            # Row by row: a whole topic may not fit into memory, and one batch does.
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
    """Any broker, through its contract. On Kafka offsets have gaps of their own, so nothing is known of holes."""

    def __init__(self, broker: Broker) -> None:
        self.extents: dict[TopicPartition, Extent] = {}
        self.holes: list[Hole] = []
        self._broker = broker

    def records(self, topic: str) -> Iterator[Record]:
        tps = self._broker.partitions(topic)
        begins, ends = self._broker.begin_offsets(tps), self._broker.end_offsets(tps)
        self.extents = {tp: Extent(begins[tp], ends[tp]) for tp in tps}
        for batch in sweep(self._broker, {tp: (begins[tp], ends[tp]) for tp in tps}):
            yield from batch


def outbox_records(connection: Rows, broker: Broker, topic: str) -> Iterator[Record]:
    """What lies in the database and may not be in Kafka yet; some of it may be there already."""
    local = LogReading(connection, LOCAL)
    waiting = list(local.records(topic))
    cursors = broker.cursors(OUTBOX_CURSORS) if waiting else {}
    for record in waiting:
        if record.offset >= int(cursors.get(f"{topic}/{record.partition}", b"0")):
            yield record


class Held(NamedTuple):
    """A record's place and when it came."""

    partition: int
    offset: int
    at_ms: int

    def place(self, topic: str) -> str:
        return f"{topic}/{self.partition}/{self.offset}"


class Twice(NamedTuple):
    """Two records of a topic that say the same of the same."""

    event_id: str
    key: str
    first: str
    second: str


class Holding:
    """What a topic holds, by event_id: the first record of each; and what must not be."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.first: dict[str, Held] = {}
        self.revisions: dict[tuple[str, str], Held] = {}
        self.twice: list[Twice] = []
        self.holes: list[Hole] = []
        self.extents: dict[TopicPartition, Extent] = {}
        self._oldest_ms: dict[int, int] = {}

    def take(self, record: Record, event_id: str, variant: str = "") -> Held:
        """`variant` tells apart what is not the same although id and revision are."""
        held = Held(record.partition, record.offset, record.timestamp_ms)
        revision = sys.intern(record.headers.get("revision", LIVE.encode()).decode(errors="replace") + variant)
        before = self.revisions.setdefault((event_id, revision), held)
        if before is not held:
            self.twice.append(
                Twice(event_id, record.key.decode(errors="replace"), before.place(self.topic), record.place)
            )
        self.first.setdefault(event_id, held)
        return held

    def fill(
        self,
        reading: TopicReading,
        wanted: Callable[[Record], bool],
        variant: Callable[[Record], str] = lambda _: "",
    ) -> Iterator[tuple[Record, str, Held]]:
        """Walks through the topic: every wanted record with its event_id and its place, once taken."""
        for record in reading.records(self.topic):
            self._oldest_ms.setdefault(record.partition, record.timestamp_ms)
            if wanted(record):
                event_id = event_id_of(record)
                yield record, event_id, self.take(record, event_id, variant(record))
        self.extents, self.holes = dict(reading.extents), list(reading.holes)

    def is_due(self, partition: int, written_after_ms: int | None) -> bool:
        """Whether a record of this partition, written after that instant, must still be there."""
        extent = self.extents.get(TopicPartition(self.topic, partition))
        if extent is None or extent.begin == 0:
            return True
        oldest_ms = self._oldest_ms.get(partition)
        return oldest_ms is not None and written_after_ms is not None and written_after_ms > oldest_ms


def event_id_of(record: Record) -> str:
    """As its dead letter would be called where it brings none of its own (shared/runtime/dead_letters/letter.py).

    Interned: the same id is met in every topic, and there are many ids.
    """
    said = record.headers.get("event_id")
    return sys.intern(str(uuid5(NAMESPACE, record.place)) if said is None else said.decode(errors="replace"))
