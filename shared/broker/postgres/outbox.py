"""Keeps what the database knows of its outbox: how far it is relayed, and whether a cursor is one of this outbox.

A restored or failed-over database has the same identity and offsets, but other records behind an offset. A cursor in
Kafka therefore also holds the fingerprint of the last relayed batch. The database remembers that fingerprint when it
deletes the batch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from shared.broker.contract import TopicPartition
from shared.broker.outbox_cursors import OutboxIdentity, OutboxPosition, OutboxState
from shared.broker.postgres.log import PostgresTopics
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import TransientError


class PostgresOutbox:
    """The outbox in the local topics of the log. For one thread."""

    def __init__(self, conninfo: str) -> None:
        self._link = ReconnectingConnection(conninfo, "outbox", autocommit=True)
        self._topics = PostgresTopics()

    def identity(self) -> OutboxIdentity:
        with self._link.use() as connection:
            return read_identity(connection)

    def states(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, OutboxState]:
        with self._link.use() as connection:
            return _states(connection, tps)

    def fingerprints(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, str]:
        """Per partition, the fingerprint of the batch that holds the record before the offset; absent if it is not in
        the log."""
        with self._link.use() as connection:
            return self._fingerprints(connection, offsets)

    def acknowledge(
        self, known: Mapping[TopicPartition, OutboxPosition | None], relayed: Mapping[TopicPartition, OutboxPosition]
    ) -> None:
        """Delete the whole batches before the positions in `relayed`: they are in Kafka and are not read here again.

        Raises TransientError, and deletes nothing, if this is not the outbox that the caller read: if it was not
        relayed up to `known`, or holds other batches.
        """
        with self._link.use() as connection, connection.transaction():
            here = self._fingerprints(connection, {tp: position.offset for tp, position in relayed.items()})
            require_relayed(_states(connection, relayed), {tp: known[tp] for tp in relayed})
            for tp, position in relayed.items():
                if here.get(tp) != position.fingerprint:
                    raise TransientError(f"the outbox {tp.topic}/{tp.partition} has changed: it is read again")
                self._delete(connection, tp, position)

    def _fingerprints(
        self, connection: DbConnection, offsets: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, str]:
        places = [(self._topics.get(connection, tp.topic).id, *tp, offset) for tp, offset in offsets.items()]
        columns = [list(column) for column in zip(*places, strict=True)] or [[], [], [], []]
        rows = connection.execute(
            "SELECT w.name, w.p, b.base_off, b.first_ms, md5(b.payload)"
            " FROM unnest(%s::int[], %s::text[], %s::int[], %s::bigint[]) AS w(topic_id, name, p, off)"
            " CROSS JOIN LATERAL (SELECT * FROM broker.log l WHERE l.topic_id = w.topic_id AND l.p = w.p"
            "   AND l.base_off < w.off ORDER BY l.base_off DESC LIMIT 1) b WHERE b.base_off + b.n >= w.off",
            columns,
        ).fetchall()
        return {TopicPartition(name, p): f"{base}-{first_ms}-{digest}" for name, p, base, first_ms, digest in rows}

    def _delete(self, connection: DbConnection, tp: TopicPartition, position: OutboxPosition) -> None:
        place = {"id": self._topics.get(connection, tp.topic).id, "p": tp.partition}
        connection.execute(
            "WITH gone AS (DELETE FROM broker.log WHERE topic_id = %(id)s AND p = %(p)s"
            " AND base_off + n <= %(offset)s RETURNING base_off + n AS next_off)"
            " UPDATE broker.partitions SET begin_off = greatest(begin_off, (SELECT max(next_off) FROM gone)),"
            " relayed_off = %(offset)s, relayed_print = %(print)s WHERE topic_id = %(id)s AND p = %(p)s",
            {**place, "offset": position.offset, "print": position.fingerprint},
        )

    def close(self) -> None:
        self._link.drop()


def require_relayed(
    states: Mapping[TopicPartition, OutboxState], known: Mapping[TopicPartition, OutboxPosition | None]
) -> None:
    """Raises TransientError if the database says otherwise than `known` how far it is relayed: it was restored, failed
    over, or another relay is at work."""
    for tp, position in known.items():
        if states[tp].relayed != position:
            raise TransientError(f"the outbox {tp.topic}/{tp.partition} has changed: it is read again")


def _states(connection: DbConnection, tps: Collection[TopicPartition]) -> dict[TopicPartition, OutboxState]:
    rows = connection.execute(
        "SELECT t.name, part.p, part.begin_off, part.end_off, part.relayed_off, part.relayed_print"
        " FROM broker.partitions part JOIN broker.topics t ON t.id = part.topic_id WHERE t.name = ANY(%s)",
        (sorted({tp.topic for tp in tps}),),
    ).fetchall()
    return {
        TopicPartition(name, p): OutboxState(begin, end, None if offset is None else OutboxPosition(offset, print_))
        for name, p, begin, end, offset, print_ in rows
    }


def read_identity(connection: DbConnection) -> OutboxIdentity:
    row = connection.execute("SELECT id, has_old_cursors FROM broker.outbox").fetchone()
    assert row is not None  # noqa: S101  # the migration writes it
    return OutboxIdentity(UUID(str(row[0])), bool(row[1]))
