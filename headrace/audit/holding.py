"""What one topic holds, by event_id, from one reading of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import uuid5

from headrace.audit.readers.topics import Extent, Hole, Positions, TopicReading
from shared.broker.contract import Record, TopicPartition
from shared.events import NAMESPACE
from shared.records import LIVE
from shared.topics import partition_of


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
        wanted: Callable[[Record], bool] = lambda _: True,
        variant: Callable[[Record], str] = lambda _: "",
    ) -> Iterator[tuple[Record, str, Held]]:
        """Walks through the topic: every wanted record with its event_id and its place, once taken."""
        for record in reading.records(self.topic):
            self._oldest_ms.setdefault(record.partition, record.timestamp_ms)
            if wanted(record):
                event_id = event_id_of(record)
                yield record, event_id, self.take(record, event_id, variant(record))
        self.extents, self.holes = dict(reading.extents), list(reading.holes)

    def is_passed(self, held: Held, positions: Positions) -> bool:
        """Whether a consumer with these positions has read the record."""
        return held.offset < positions.get(TopicPartition(self.topic, held.partition), 0)

    def partition_of(self, key: str) -> TopicPartition:
        return TopicPartition(self.topic, partition_of(key.encode(), len(self.extents)))

    def is_due(self, key: str, written_after_ms: int | None) -> bool:
        """Whether a record of this key, written after that instant, must still be there."""
        tp = self.partition_of(key)
        extent = self.extents.get(tp)
        if extent is None or extent.begin == 0:
            return True
        oldest_ms = self._oldest_ms.get(tp.partition)
        return oldest_ms is not None and written_after_ms is not None and written_after_ms > oldest_ms


def event_id_of(record: Record) -> str:
    """As its dead letter would be called where it brings none of its own (shared/runtime/dead_letters/letter.py).

    Interned: the same id is met in every topic, and there are many ids.
    """
    said = record.headers.get("event_id")
    return sys.intern(str(uuid5(NAMESPACE, record.place)) if said is None else said.decode(errors="replace"))
