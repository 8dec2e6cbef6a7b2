"""Implements the broker interface on PostgreSQL: the embedded broker, a log of record batches (docs/adr/0001)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shared.broker.contract import TopicPartition
from shared.broker.counting.backlog import GaplessBacklog
from shared.broker.counting.record_count import GaplessRecordCount
from shared.broker.postgres.consumer import PostgresConsumer, PostgresReader
from shared.broker.postgres.log import PostgresTopics, StoredBatch
from shared.broker.postgres.unit import PostgresProducer
from shared.database.connection import TIMEOUTS, ReconnectingConnection, Timeouts
from shared.errors import ConfigError
from shared.events import as_utc_ms
from shared.topics import TopicSpec


class PostgresBroker:
    """The embedded broker in one PostgreSQL database. Not thread-safe; consumers, readers and producers have their own
    connections."""

    gapless, table_prefix, has_outbox = True, "", False
    client_errors: tuple[type[Exception], ...] = ()

    def __init__(self, conninfo: str, timeouts: Timeouts = TIMEOUTS) -> None:
        self._conninfo = conninfo
        self._timeouts = timeouts
        self._link = ReconnectingConnection(conninfo, "broker", autocommit=True, answer_s=timeouts.answer_s)
        self._topics = PostgresTopics()

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        with self._link.use() as connection:
            for spec in specs:
                with connection.transaction():
                    row = connection.execute(
                        "INSERT INTO broker.topics (name, partitions, compacted, retention_s, retention_bytes)"
                        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE"
                        " SET retention_s = excluded.retention_s, retention_bytes = excluded.retention_bytes"
                        " RETURNING id, partitions",
                        (spec.name, spec.partitions, spec.compacted, spec.retention_s, spec.retention_bytes),
                    ).fetchone()
                    if row is None or row[1] != spec.partitions:
                        raise ConfigError(
                            f"topic {spec.name!r} has {row and row[1]} partitions, settings say {spec.partitions};"
                            " the number cannot change, because keys would move to other partitions: set it back"
                        )
                    connection.execute(
                        "INSERT INTO broker.partitions (topic_id, p) SELECT %s, generate_series(0, %s - 1)"
                        " ON CONFLICT DO NOTHING",
                        (row[0], spec.partitions),
                    )

    def group_offsets(self, group: str, topics: Sequence[str]) -> dict[TopicPartition, int]:  # noqa: ARG002
        """Always empty: the positions of `committed` are the only ones."""
        return {}

    def offsets_retention_s(self) -> None:
        """Always None: positions are rows."""

    def record_count(self) -> GaplessRecordCount:
        return GaplessRecordCount()

    def backlog(self) -> GaplessBacklog:
        return GaplessBacklog(self._conninfo)

    def stored_bytes(self, topic: str) -> int:
        with self._link.use() as connection:
            row = connection.execute(
                "SELECT coalesce(sum(octet_length(payload)), 0)::bigint FROM broker.log WHERE topic_id = %s",
                (self._topics.get(connection, topic).id,),
            ).fetchone()
        return int(row[0]) if row else 0

    def probe(self) -> None:
        """Does nothing: an unavailable database is detected when a connection is opened."""

    def partitions(self, topic: str) -> list[TopicPartition]:
        with self._link.use() as connection:
            return [TopicPartition(topic, p) for p in range(self._topics.get(connection, topic).partitions)]

    def begin_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._offsets("begin_off", tps)

    def end_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return self._offsets("end_off", tps)

    def offsets_for_times(self, tps: Sequence[TopicPartition], at: datetime) -> dict[TopicPartition, int]:
        at_ms = as_utc_ms(at)
        ends = self.end_offsets(tps)
        with self._link.use() as connection:
            for tp in tps:
                row = connection.execute(
                    "SELECT base_off, n, payload FROM broker.log WHERE topic_id = %s AND p = %s AND last_ms >= %s"
                    " ORDER BY base_off LIMIT 1",
                    (self._topics.get(connection, tp.topic).id, tp.partition, at_ms),
                ).fetchone()
                if row:
                    records = StoredBatch(tp, row[0], row[1], row[2]).records()
                    ends[tp] = next(record.offset for record in records if record.timestamp_ms >= at_ms)
        return ends

    def committed(self, group: str, topics: Sequence[str]) -> dict[TopicPartition, int]:
        with self._link.use() as connection:
            rows = connection.execute(
                "SELECT t.name, part.p, coalesce(pos.next_off, part.begin_off) FROM broker.partitions part"
                " JOIN broker.topics t ON t.id = part.topic_id LEFT JOIN broker.positions pos"
                " ON pos.grp = %s AND pos.topic_id = part.topic_id AND pos.p = part.p WHERE t.name = ANY(%s)",
                (group, list(topics)),
            ).fetchall()
        return {TopicPartition(name, p): offset for name, p, offset in rows}

    def consumer(
        self,
        group: str,
        topics: Sequence[str],
        slot: str,
        *,
        in_database: bool = False,  # noqa: ARG002  # part of the interface; here all positions are in the database
    ) -> PostgresConsumer:
        return PostgresConsumer(self._conninfo, group, topics, slot, self._timeouts)

    def reader(self, tps: Sequence[TopicPartition], *, complete: bool = False) -> PostgresReader:
        return PostgresReader(self._conninfo, tps, timeouts=self._timeouts, complete=complete)

    def producer(
        self,
        slot: str,
        *,
        in_database: bool = False,  # noqa: ARG002  # part of the interface; here every unit is in the database
    ) -> PostgresProducer:
        return PostgresProducer(self._conninfo, slot, self._timeouts)

    def cursors(
        self,
        topic: str,
        *,
        in_database: bool = False,  # noqa: ARG002  # part of the interface; here all cursors are in the database
    ) -> dict[str, bytes]:
        with self._link.use() as connection:
            rows = connection.execute(
                "SELECT key, value FROM broker.cursors WHERE topic_id = %s", (self._topics.get(connection, topic).id,)
            ).fetchall()
        return dict(rows)

    def health(self) -> None:
        with self._link.use() as connection:
            connection.execute("SELECT 1")

    def close(self) -> None:
        self._link.drop()

    def positions(self, group: str, prefix: str) -> dict[TopicPartition, int]:
        """A group's positions in the topics whose names begin with `prefix`, without the prefix."""
        with self._link.use() as connection:
            rows = connection.execute(
                "SELECT t.name, pos.p, pos.next_off FROM broker.positions pos JOIN broker.topics t ON t.id ="
                " pos.topic_id WHERE pos.grp = %s AND starts_with(t.name, %s)",
                (group, prefix),
            ).fetchall()
        return {TopicPartition(name.removeprefix(prefix), p): offset for name, p, offset in rows}

    def _offsets(self, column: str, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        with self._link.use() as connection:
            rows = connection.execute(
                f"SELECT t.name, part.p, part.{column} FROM broker.partitions part"
                " JOIN broker.topics t ON t.id = part.topic_id WHERE t.name = ANY(%s)",
                ([tp.topic for tp in tps],),
            ).fetchall()
        offsets = {TopicPartition(name, p): offset for name, p, offset in rows}
        if missing := [tp for tp in tps if tp not in offsets]:
            raise ConfigError(f"partition {missing[0].topic}/{missing[0].partition} does not exist")
        return {tp: offsets[tp] for tp in tps}
