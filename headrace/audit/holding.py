"""Indexes the records of one topic by event_id, in a single reading."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import uuid5

from headrace.audit.readers.topics import CommittedOffsets, Extent, Hole, TopicReading
from shared.broker.contract import Record, TopicPartition
from shared.events import NAMESPACE
from shared.records import LIVE
from shared.topics import partition_of


class RecordPlace(NamedTuple):
    """A record's partition, offset and timestamp."""

    partition: int
    offset: int
    at_ms: int

    def text_in(self, topic: str) -> str:
        return f"{topic}/{self.partition}/{self.offset}"


class DuplicateRecord(NamedTuple):
    """Two records of a topic with the same event_id and revision. `first`, `second`: their places."""

    event_id: str
    key: str
    first: str
    second: str


class TopicContents:
    """The first record of each event_id in a topic, its duplicates and its holes."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.first: dict[str, RecordPlace] = {}
        self.revisions: dict[tuple[str, str], RecordPlace] = {}
        self.duplicates: list[DuplicateRecord] = []
        self.holes: list[Hole] = []
        self.extents: dict[TopicPartition, Extent] = {}
        self._oldest_ms: dict[int, int] = {}

    def add(self, record: Record, event_id: str, variant: str = "") -> RecordPlace:
        """Add a record. `variant` distinguishes records that may share an event_id and a revision."""
        place = RecordPlace(record.partition, record.offset, record.timestamp_ms)
        revision = sys.intern(record.headers.get("revision", LIVE.encode()).decode(errors="replace") + variant)
        earlier = self.revisions.setdefault((event_id, revision), place)
        if earlier is not place:
            self.duplicates.append(
                DuplicateRecord(
                    event_id, record.key.decode(errors="replace"), earlier.text_in(self.topic), record.place
                )
            )
        self.first.setdefault(event_id, place)
        return place

    def read(
        self,
        topics: TopicReading,
        is_wanted: Callable[[Record], bool] = lambda _: True,
        variant: Callable[[Record], str] = lambda _: "",
    ) -> Iterator[tuple[Record, str, RecordPlace]]:
        """Read the topic. Yields each wanted record with its event_id and its place, after it was added."""
        for record in topics.records(self.topic):
            self._oldest_ms.setdefault(record.partition, record.timestamp_ms)
            if is_wanted(record):
                event_id = event_id_of(record)
                yield record, event_id, self.add(record, event_id, variant(record))
        self.extents, self.holes = dict(topics.extents), list(topics.holes)

    def is_read(self, place: RecordPlace, positions: CommittedOffsets) -> bool:
        """Whether a consumer with these positions has read the record."""
        return place.offset < positions.get(TopicPartition(self.topic, place.partition), 0)

    def partition_of(self, key: str) -> TopicPartition:
        return TopicPartition(self.topic, partition_of(key.encode(), len(self.extents)))

    def is_due(self, key: str, written_after_ms: int | None) -> bool:
        """Whether the topic must still hold a record of this key that was written after that time."""
        tp = self.partition_of(key)
        extent = self.extents.get(tp)
        if extent is None or extent.begin == 0:
            return True
        oldest_ms = self._oldest_ms.get(tp.partition)
        return oldest_ms is not None and written_after_ms is not None and written_after_ms > oldest_ms


def event_id_of(record: Record) -> str:
    """The event_id of a record; without one, the id that its dead letter gets (shared/runtime/dead_letters/letter.py).

    Interned to save memory: there are many ids, and each occurs in every topic.
    """
    header = record.headers.get("event_id")
    return sys.intern(str(uuid5(NAMESPACE, record.place)) if header is None else header.decode(errors="replace"))
