"""Stores orders and what replicas report about them, in ops.orders, ops.observed and ops.replicas.

Every function runs within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.broker.contract import TopicPartition
from shared.database.connection import DbConnection
from shared.ops.orders import DesiredState, ObservedPartition, Order, Orders, PartitionStatus

# A replica without a heartbeat for this long counts as dead: its leases have expired and its units are fenced. (A
# process that was suspended and continues finds its partitions owned by other replicas.)
FRESH_S = 15.0
CHANNEL = "headrace_orders"


class OrderRow(NamedTuple):
    """An order, its reason, and who gave it when."""

    order: Order
    reason: str | None
    ordered_by: str
    ordered_at: datetime


class LiveReplicas(NamedTuple):
    """The live replicas: the newest order that each obeys (None if it has read none), and their partitions."""

    obeyed: dict[str, int | None]
    observed: list[ObservedPartition]


def read_orders(connection: DbConnection, service: str) -> Orders:
    """The current orders.

    Once an order is effective, its `tolerate` is returned as 0: a replica that starts later tolerates no failures.
    """
    rows = connection.execute(
        "SELECT topic, desired, seq, CASE WHEN tolerate > 0 AND EXISTS (SELECT FROM ops.operations o"
        " WHERE o.service = ops.orders.service AND o.finished_at IS NULL AND (o.target -> 'orders' ->> topic)::bigint"
        " = seq) THEN tolerate ELSE 0 END FROM ops.orders WHERE service = %s",
        (service,),
    ).fetchall()
    return Orders({row[0]: Order(*row) for row in rows})


def give_order(
    connection: DbConnection,
    service: str,
    topic: str,
    desired: DesiredState,
    ordered_by: str,
    reason: str | None = None,
    tolerate: int = 0,
) -> tuple[OrderRow | None, OrderRow]:
    """Stores an order; returns the previous order and the current one. Pausing a paused topic keeps its order.

    Resuming a running topic is a new order: it makes replicas retry partitions that the breaker tripped.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('headrace orders'))")
    before = _order_row(connection, service, topic)
    if before is not None and before.order.desired == desired == "paused":
        return before, before
    connection.execute(
        "INSERT INTO ops.orders (service, topic, desired, tolerate, reason, ordered_by) VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (service, topic) DO UPDATE SET desired = excluded.desired, seq = nextval('ops.order_seq'),"
        " tolerate = excluded.tolerate, reason = excluded.reason, ordered_by = excluded.ordered_by,"
        " ordered_at = clock_timestamp()",
        (service, topic, desired, tolerate, reason, ordered_by),
    )
    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, service))
    after = _order_row(connection, service, topic)
    assert after is not None  # noqa: S101  # just written
    return before, after


def live_replicas(connection: DbConnection, service: str) -> LiveReplicas:
    """The live replicas and their partitions, read in one statement: no reported status is older than the order that
    its replica obeys."""
    rows = connection.execute(
        "SELECT r.replica, r.obeyed_seq, o.topic, o.p, o.state, o.seq, o.position, o.cause FROM ops.replicas r"
        " LEFT JOIN ops.observed o USING (service, replica)"
        " WHERE r.service = %s AND r.state <> 'stopped' AND r.seen_at > now() - make_interval(secs => %s)"
        " ORDER BY r.replica, o.topic, o.p",
        (service, FRESH_S),
    ).fetchall()
    return LiveReplicas(
        {replica: seq for replica, seq, *_ in rows},
        [ObservedPartition(row[0], TopicPartition(row[2], row[3]), *row[4:]) for row in rows if row[2] is not None],
    )


def forget(connection: DbConnection, service: str, replica: str, incarnation: UUID) -> bool:
    """Deletes the reported status of a replica. Returns False if its row does not belong to this process.

    A starting process commits this before it reads its first orders: an order that is given meanwhile then waits for
    this process too. A process also calls it when it stops.
    """
    if not heartbeat(connection, service, replica, incarnation):
        return False
    connection.execute("DELETE FROM ops.observed WHERE service = %s AND replica = %s", (service, replica))
    return True


def heartbeat(connection: DbConnection, service: str, replica: str, incarnation: UUID) -> bool:
    """Stores the heartbeat of a replica; False as in `forget`."""
    return bool(
        connection.execute(
            "UPDATE ops.replicas SET seen_at = clock_timestamp()"
            " WHERE service = %s AND replica = %s AND incarnation = %s",
            (service, replica, incarnation),
        ).rowcount
    )


def report_status(
    connection: DbConnection,
    service: str,
    replica: str,
    incarnation: UUID,
    seq: int,
    partitions: Mapping[TopicPartition, PartitionStatus],
) -> bool:
    """Stores the status of a replica's partitions and the order they obey; False as in `forget`."""
    updated = connection.execute(
        "UPDATE ops.replicas SET obeyed_seq = %s WHERE service = %s AND replica = %s AND incarnation = %s",
        (seq, service, replica, incarnation),
    ).rowcount
    if not updated:
        return False
    rows = [(tp.topic, tp.partition, *partitions[tp]) for tp in sorted(partitions)]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], [], []]
    connection.execute(
        "DELETE FROM ops.observed WHERE service = %s AND replica = %s AND (topic, p) NOT IN"
        " (SELECT * FROM unnest(%s::text[], %s::int[]))",
        (service, replica, *columns[:2]),
    )
    connection.execute(
        "INSERT INTO ops.observed (service, replica, topic, p, state, position, cause, seq)"
        " SELECT %s, %s, status.*, %s FROM unnest(%s::text[], %s::int[], %s::text[], %s::bigint[], %s::text[]) status"
        " ON CONFLICT (service, replica, topic, p) DO UPDATE SET state = excluded.state, seq = excluded.seq,"
        " position = excluded.position, cause = excluded.cause, seen_at = clock_timestamp()",
        (service, replica, seq, *columns),
    )
    return True


def paused_topics(connection: DbConnection) -> list[tuple[str, str]]:
    """(service, topic) of every paused topic."""
    return connection.execute(
        "SELECT service, topic FROM ops.orders WHERE desired = 'paused' ORDER BY service, topic"
    ).fetchall()


def order_rows(connection: DbConnection, service: str, topics: Sequence[str]) -> dict[str, OrderRow]:
    return {topic: row for topic in topics if (row := _order_row(connection, service, topic)) is not None}


def _order_row(connection: DbConnection, service: str, topic: str) -> OrderRow | None:
    row = connection.execute(
        "SELECT topic, desired, seq, tolerate, reason, ordered_by, ordered_at FROM ops.orders"
        " WHERE service = %s AND topic = %s",
        (service, topic),
    ).fetchone()
    return None if row is None else OrderRow(Order(*row[:4]), *row[4:])
