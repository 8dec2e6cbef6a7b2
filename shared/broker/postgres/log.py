"""Writes and reads record batches of the embedded log. Each function runs inside the caller's transaction."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from shared.broker.contract import NewRecord, Record, TopicPartition
from shared.broker.postgres.frames import batch_compressor, decode_batch, encode_batch
from shared.database.connection import query_rows
from shared.errors import BrokerError, ConfigError
from shared.topics import partition_of

LOCAL_PREFIX = "kafka:"

# One statement, because each one more is a wait of the thread that commits. The partitions are locked in order first;
# after a wait for another transaction, the row that the lock returns and the update changes is the newest one.
APPEND = """
WITH batches AS (
  SELECT * FROM unnest(%(ids)s::int[], %(ps)s::int[], %(counts)s::int[], %(payloads)b::bytea[])
    AS batch(topic_id, p, n, payload)
), locked AS (
  SELECT topic_id, p FROM broker.partitions JOIN batches USING (topic_id, p) ORDER BY topic_id, p
  FOR UPDATE OF partitions
), moved AS (
  UPDATE broker.partitions part SET end_off = part.end_off + batch.n
  FROM locked JOIN batches batch USING (topic_id, p) WHERE part.topic_id = locked.topic_id AND part.p = locked.p
  RETURNING part.topic_id, part.p, part.end_off - batch.n AS base
), stored AS (
  INSERT INTO broker.log (topic_id, p, base_off, n, first_ms, last_ms, payload)
  SELECT topic_id, p, base, n, %(now_ms)s, %(now_ms)s, payload FROM moved JOIN batches USING (topic_id, p)
  RETURNING 1
)
SELECT (SELECT count(*) FROM stored),
  (SELECT count(pg_notify(channel, '')) FROM unnest(%(channels)s::text[]) AS channel)
"""


class Topic(NamedTuple):
    id: int
    name: str
    partitions: int
    compacted: bool


class StoredBatch(NamedTuple):
    """A stored batch that is not yet decoded. `n` is its number of records, `segment` the part of the log."""

    tp: TopicPartition
    base_off: int
    n: int
    payload: bytes
    segment: int = 0

    def records(self) -> list[Record]:
        """Raises BrokerError if the batch is damaged."""
        records = decode_batch(self.tp.topic, self.tp.partition, self.base_off, self.payload)
        if len(records) != self.n:
            place = f"{self.tp.topic}/{self.tp.partition}/{self.base_off}"
            raise BrokerError(f"{place}: the batch is damaged: expected {self.n} records, got {len(records)}")
        return records


class PostgresTopics:
    """The topics by name, read at the first request and again when one is missing.

    If Kafka is the broker, the log holds a *local topic* for some Kafka topics, named with the prefix `LOCAL_PREFIX`:
    it holds the positions of groups that keep them in the database, and the records that are not relayed yet.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._by_name: dict[str, Topic] = {}

    def get(self, connection: psycopg.Connection[Any], name: str) -> Topic:
        local = self._prefix + name
        if local not in self._by_name:
            topics = connection.execute("SELECT id, name, partitions, compacted FROM broker.topics").fetchall()
            self._by_name = {topic[1]: Topic(*topic) for topic in topics}
        try:
            return self._by_name[local]
        except KeyError:
            raise ConfigError(
                f"topic {name!r} does not exist; `headrace run` and `headrace migrate` create the topics"
            ) from None


def write(connection: psycopg.Connection[Any], topics: PostgresTopics, records: Sequence[NewRecord]) -> None:
    """Append one batch to each partition. Partitions are always locked in the same order, which avoids deadlocks."""
    used = {name: topics.get(connection, name) for name in {record.topic for record in records}}
    for topic in used.values():
        if topic.compacted:
            raise ConfigError(f"topic {topic.name!r} is compacted and holds keyed state: use cursor_set")
    grouped: dict[tuple[int, int], list[NewRecord]] = defaultdict(list)
    for record in records:
        name, key, _, _, p = record
        topic = used[name]
        grouped[topic.id, partition_of(key, topic.partitions) if p is None else p].append(record)
    keys = sorted(grouped)
    now_ms = time.time_ns() // 1_000_000
    compressor = batch_compressor()
    payloads = [encode_batch(grouped[tp], now_ms, compressor) for tp in keys]
    channels = [channel_of(topic_id) for topic_id in sorted({topic_id for topic_id, _ in keys})]
    stored = connection.execute(
        APPEND,
        {
            "ids": [topic_id for topic_id, _ in keys],
            "ps": [p for _, p in keys],
            "counts": [len(grouped[tp]) for tp in keys],
            "payloads": payloads,
            "now_ms": now_ms,
            "channels": channels,
        },
    ).fetchone()
    if stored is None or stored[0] != len(keys):
        raise ConfigError(f"a partition among (topic_id, partition) {keys} does not exist")


def channel_of(topic_id: int) -> str:
    """The NOTIFY channel on which appends to a topic are announced."""
    return f"headrace_topic_{topic_id}"


def read(
    connection: psycopg.Connection[Any],
    topics: PostgresTopics,
    positions: Mapping[TopicPartition, int],
    max_batches: int,
    segments: Mapping[TopicPartition, int],
) -> list[StoredBatch]:
    """Up to `max_batches` batches of each partition, starting with the one that contains the position.

    `segments`: for a position that a read ended at, the segment of its last batch. Earlier ones are not searched,
    because the segments of a partition grow with the offsets."""
    names = {topics.get(connection, tp.topic).id: tp.topic for tp in positions}
    lookups = [
        (topics.get(connection, tp.topic).id, tp.partition, offset, segments.get(tp, 0))
        for tp, offset in positions.items()
    ]
    batches = query_rows(
        connection,
        "SELECT w.topic_id, w.p, b.base_off, b.n, b.payload, b.segment"
        " FROM unnest(%s::int[], %s::int[], %s::bigint[], %s::bigint[]) AS w(topic_id, p, off, segment)"
        " CROSS JOIN LATERAL ("
        "   SELECT base_off, n, payload, segment FROM broker.log l"
        "   WHERE l.topic_id = w.topic_id AND l.p = w.p AND l.segment >= w.segment"
        "   AND l.base_off >= coalesce((SELECT max(base_off) FROM broker.log h WHERE h.topic_id = w.topic_id"
        "     AND h.p = w.p AND h.segment >= w.segment AND h.base_off <= w.off), 0)"
        "   AND l.base_off + l.n > w.off ORDER BY l.base_off LIMIT %s) b ORDER BY w.topic_id, w.p, b.base_off",
        *(list(column) for column in zip(*lookups, strict=True)),
        max_batches,
    )
    return [
        StoredBatch(TopicPartition(names[topic_id], p), base, n, payload, segment)
        for topic_id, p, base, n, payload, segment in batches
    ]
