"""The records of all topics, also those that an accident removed later: a new Kafka, retention.

`TopicHistory.read` remembers what is there now. An *era* is the life of one log: in a new Kafka, offsets begin again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from shared.broker.contract import Broker, Record, TopicPartition
from shared.records import FETCHED_AT
from shared.topics import CLEAN, DEAD_LETTERS, LOADED, PREDICTIONS, RAW, STREAMS

READ_S, READ_LIMIT_S = 0.1, 60.0
TOPICS = (*STREAMS, *DEAD_LETTERS)
# Fields that belong to a run and not to the fact: when a document was fetched, ids that a sequence gives out in the
# order of arrival, and offsets of other records. All other bytes of a record must be the same in each run.
RUN_FIELDS: Mapping[str, frozenset[str]] = {
    RAW: frozenset({"fetched_at"}),
    LOADED: frozenset({"row_id"}),
    PREDICTIONS: frozenset({"inputs"}),
}
# A table of reference data counts as known since it was fetched.
REFERENCE, REFERENCE_FIELDS = b":reference:", frozenset({"known_at"})
RUN_HEADERS = frozenset({FETCHED_AT})


class Entry(NamedTuple):
    """The identity of a record: its key and its id."""

    key: bytes
    event_id: bytes


class Occurrence(NamedTuple):
    """A record in a topic. `digest`: of the bytes that must be the same in each run; `place`: where and when it was
    appended, for people."""

    entry: Entry
    digest: bytes
    place: str


class TopicHistory:
    """What was read of each partition, era by era."""

    def __init__(self) -> None:
        self._eras: list[dict[TopicPartition, dict[int, Occurrence]]] = [{}]

    def begin_era(self) -> None:
        """The log is a new one: what was read of the former one stays."""
        self._eras.append({})

    def read(self, broker: Broker) -> None:
        """Read every topic from its begin to its end: only committed records. Raises TimeoutError."""
        for topic in TOPICS:
            tps = broker.partitions(topic)
            begins = broker.begin_offsets(tps)
            for tp, current in _occurrences(broker, topic, tps, begins).items():
                removed = {at: each for at, each in self._eras[-1].get(tp, {}).items() if at < begins[tp]}
                self._eras[-1][tp] = removed | current

    def unread(self, positions: Mapping[TopicPartition, int]) -> set[Entry]:
        """The records of this era from these positions on."""
        return {
            each.entry
            for tp, position in positions.items()
            for offset, each in self._eras[-1].get(tp, {}).items()
            if offset >= position
        }

    def by_topic(self) -> dict[str, list[Occurrence]]:
        """All records, era by era, partition by partition in their order."""
        occurrences: dict[str, list[Occurrence]] = {topic: [] for topic in TOPICS}
        for era in self._eras:
            for tp in sorted(era):
                occurrences[tp.topic] += [era[tp][offset] for offset in sorted(era[tp])]
        return occurrences


def digest_of(record: Record) -> bytes:
    """A digest of key, headers and value, without what belongs to the run."""
    headers = sorted((name, value) for name, value in record.headers.items() if name not in RUN_HEADERS)
    parts = [record.key, *(part for name, value in headers for part in (name.encode(), value))]
    parts.append(_comparable(record))
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        hasher.update(len(part).to_bytes(4, "big") + part)
    return hasher.digest()


def _comparable(record: Record) -> bytes:
    excluded = RUN_FIELDS.get(record.topic, frozenset())
    if record.topic in (CLEAN, LOADED) and REFERENCE in record.key:
        excluded |= REFERENCE_FIELDS
    if not excluded:
        return record.value
    body = orjson.loads(record.value)
    return orjson.dumps({name: each for name, each in body.items() if name not in excluded})


def _occurrences(
    broker: Broker, topic: str, tps: Iterable[TopicPartition], begins: Mapping[TopicPartition, int]
) -> dict[TopicPartition, dict[int, Occurrence]]:
    tps = list(tps)
    ends, occurrences = broker.end_offsets(tps), {tp: dict[int, Occurrence]() for tp in tps}
    deadline_s = time.monotonic() + READ_LIMIT_S
    with closing(broker.reader(tps)) as reader:
        for tp, offset in begins.items():
            reader.seek(tp, offset)
        # Read up to the position, not until a poll is empty: a partition may end with offsets without a record.
        while any(reader.position(tp) < ends[tp] for tp in tps):
            for record in reader.poll(READ_S, 2000):
                occurrences[TopicPartition(topic, record.partition)][record.offset] = _occurrence(record)
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{topic} cannot be read to its end within {READ_LIMIT_S:g} s")
    return occurrences


def _occurrence(record: Record) -> Occurrence:
    at = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
    place = f"partition {record.partition}, offset {record.offset}, {at:%H:%M:%S.%f}"
    return Occurrence(Entry(record.key, record.headers.get("event_id", b"")), digest_of(record), place)
