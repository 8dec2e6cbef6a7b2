"""Stores held partitions in ops.holds, so that a hold outlasts the process that found its cause.

Every function runs within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection

from psycopg.types.json import Jsonb

from shared.broker.contract import TopicPartition
from shared.database.connection import DbConnection
from shared.ops.holds import RESUMABLE, Hold, HoldKind
from shared.ops.tables.orders import CHANNEL


def hold(connection: DbConnection, service: str, new: Hold) -> None:
    """Stores a hold; replaces an earlier one of the same kind."""
    connection.execute(
        "INSERT INTO ops.holds (service, topic, p, kind, cause, seq, at) VALUES (%s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (service, topic, p, kind) DO UPDATE SET cause = excluded.cause, seq = excluded.seq,"
        " at = excluded.at, continue_at = NULL",
        (service, *new.tp, new.kind, Jsonb(dict(new.cause)), new.seq, new.at),
    )
    _notify(connection, service)


def release(connection: DbConnection, service: str, tp: TopicPartition, kind: HoldKind) -> bool:
    """Ends a hold; False if there is none."""
    deleted = connection.execute(
        "DELETE FROM ops.holds WHERE service = %s AND topic = %s AND p = %s AND kind = %s", (service, *tp, kind)
    ).rowcount
    _notify(connection, service)
    return bool(deleted)


def continue_at(connection: DbConnection, service: str, tp: TopicPartition, kind: HoldKind, offset: int) -> None:
    """Orders the owner of a held partition to commit the position `offset` and to end the hold."""
    connection.execute(
        "UPDATE ops.holds SET continue_at = %s WHERE service = %s AND topic = %s AND p = %s AND kind = %s",
        (offset, service, *tp, kind),
    )
    _notify(connection, service)


def holds(connection: DbConnection, service: str) -> list[Hold]:
    """The holds of a service, the oldest first; without those that a newer order ended."""
    rows = connection.execute(
        "SELECT topic, p, kind, cause, seq, at, continue_at FROM ops.holds h WHERE service = %s AND NOT EXISTS"
        " (SELECT FROM ops.orders o WHERE o.service = h.service AND o.topic = h.topic AND o.desired = 'running'"
        " AND o.seq > h.seq AND h.kind = ANY(%s)) ORDER BY at, topic, p",
        (service, list(RESUMABLE)),
    ).fetchall()
    return [Hold(TopicPartition(topic, p), *rest) for topic, p, *rest in rows]


def delete_resumed(connection: DbConnection, service: str, topics: Collection[str]) -> None:
    """Deletes the holds that the current resume orders of these topics ended."""
    connection.execute(
        "DELETE FROM ops.holds h USING ops.orders o WHERE h.service = %s AND h.topic = ANY(%s) AND h.kind = ANY(%s)"
        " AND o.service = h.service AND o.topic = h.topic AND o.desired = 'running' AND o.seq > h.seq",
        (service, list(topics), list(RESUMABLE)),
    )


def _notify(connection: DbConnection, service: str) -> None:
    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, service))
