"""Orders and what became of them, in ops.orders, ops.observed and ops.replicas. Within the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from shared.broker.contract import DbConnection, TopicPartition
from shared.ops.orders import Desired, Observed, Order, Orders, PartitionState

# A replica that has not said anything for so long is not there any more: its leases have ended, and its units are
# fenced. (A stopped process that goes on later finds its partitions with others.)
FRESH_S = 15.0
CHANNEL = "headrace_orders"


class OrderRow(NamedTuple):
    """An order with who gave it."""

    order: Order
    reason: str | None
    ordered_by: str


def read_orders(connection: DbConnection, service: str) -> Orders:
    found = connection.execute(
        "SELECT topic, desired, seq, tolerate FROM ops.orders WHERE service = %s", (service,)
    ).fetchall()
    return Orders({row[0]: Order(*row) for row in found})


def give_order(
    connection: DbConnection,
    service: str,
    topic: str,
    desired: Desired,
    ordered_by: str,
    reason: str | None = None,
    tolerate: int = 0,
) -> tuple[OrderRow | None, OrderRow]:
    """The order before, and the one that holds now. One that changes nothing keeps its number.

    To run what runs already is an order too where a partition is held back: it lets the breaker try again.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('headrace orders'))")
    before = _one(connection, service, topic)
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
    after = _one(connection, service, topic)
    assert after is not None  # noqa: S101  # just written
    return before, after


def observed(connection: DbConnection, service: str) -> list[Observed]:
    """Of replicas that are alive."""
    found = connection.execute(
        "SELECT o.replica, o.topic, o.p, o.state, o.seq FROM ops.observed o"
        " JOIN ops.replicas r USING (service, replica)"
        " WHERE o.service = %s AND r.seen_at > now() - make_interval(secs => %s) AND r.state <> 'stopped'",
        (service, FRESH_S),
    ).fetchall()
    return [Observed(replica, TopicPartition(topic, p), state, seq) for replica, topic, p, state, seq in found]


def obeyed(connection: DbConnection, service: str) -> dict[str, int | None]:
    """For each replica that is alive, the newest order it obeys."""
    return dict(
        connection.execute(
            "SELECT replica, obeyed_seq FROM ops.replicas WHERE service = %s AND state <> 'stopped'"
            " AND seen_at > now() - make_interval(secs => %s)",
            (service, FRESH_S),
        ).fetchall()
    )


def report(
    connection: DbConnection,
    service: str,
    replica: str,
    seq: int,
    states: Mapping[TopicPartition, tuple[PartitionState, int | None, str | None]],
) -> None:
    """What a replica does now with what it owns (state, position, cause of a trip), under which order."""
    connection.execute("DELETE FROM ops.observed WHERE service = %s AND replica = %s", (service, replica))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO ops.observed (service, replica, topic, p, state, seq, position, cause)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (service, replica, tp.topic, tp.partition, state, seq, position, cause)
                for tp, (state, position, cause) in sorted(states.items())
            ],
        )
    connection.execute(
        "UPDATE ops.replicas SET obeyed_seq = %s WHERE service = %s AND replica = %s", (seq, service, replica)
    )


def forget(connection: DbConnection, service: str, replica: str) -> None:
    """What a former process under this name did is over."""
    connection.execute("DELETE FROM ops.observed WHERE service = %s AND replica = %s", (service, replica))
    connection.execute(
        "UPDATE ops.replicas SET obeyed_seq = NULL WHERE service = %s AND replica = %s", (service, replica)
    )


def order_rows(connection: DbConnection, service: str, topics: Sequence[str]) -> dict[str, OrderRow]:
    return {topic: row for topic in topics if (row := _one(connection, service, topic)) is not None}


def _one(connection: DbConnection, service: str, topic: str) -> OrderRow | None:
    row = connection.execute(
        "SELECT topic, desired, seq, tolerate, reason, ordered_by FROM ops.orders WHERE service = %s AND topic = %s",
        (service, topic),
    ).fetchone()
    return None if row is None else OrderRow(Order(*row[:4]), row[4], row[5])
