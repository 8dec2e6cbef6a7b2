"""Pauses and resumes topics: stores the orders, and ends their operation once every replica obeys them.

Every function runs within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from shared.broker.contract import TopicPartition
from shared.database.connection import DbConnection
from shared.ops.operations import Operation
from shared.ops.orders import DesiredState, Order, pending_reason
from shared.ops.tables import holds as holds_table
from shared.ops.tables import operations as operations_table
from shared.ops.tables.orders import LiveReplicas, give_order, live_replicas
from shared.topics import WRITES

KINDS: Mapping[str, DesiredState] = {"pause": "paused", "resume": "running"}
_OPPOSITE = {"paused": "resume", "running": "pause"}

Partitions = Mapping[str, Collection[TopicPartition]]
"""The partitions of each topic of a service."""


def steer(
    connection: DbConnection,
    service: str,
    topics: Sequence[str],
    desired: DesiredState,
    *,
    who: str,
    request_id: str,
    reason: str | None = None,
    tolerate: int = 0,
) -> Operation:
    """Stores an order for each topic, in one operation. Cancels open operations that ordered the opposite."""
    orders = {}
    for topic in sorted(topics):
        _, after = give_order(connection, service, topic, desired, who, reason, tolerate)
        orders[topic] = after.order.seq
    holds_table.delete_resumed(connection, service, topics)
    connection.execute(
        "UPDATE ops.operations SET state = 'cancelled', error = 'superseded by another order', waiting_for = NULL,"
        " finished_at = clock_timestamp(), updated_at = clock_timestamp()"
        " WHERE service = %s AND finished_at IS NULL AND kind = %s AND target -> 'orders' ?| %s",
        (service, _OPPOSITE[desired], sorted(topics)),
    )
    kind = "pause" if desired == "paused" else "resume"
    return operations_table.create(connection, service, kind, {"orders": orders}, who, request_id)


def finish_effective(connection: DbConnection, service: str, partitions: Partitions) -> list[str]:
    """Ends the operations of a service whose orders are effective, and stores the pending reason of the others.

    Any replica may call this at any time. Returns the ids of the operations that ended.
    """
    # Locks the rows in the order of their ids and waits: the last transaction sees the reports of all others.
    rows = connection.execute(
        "SELECT id, kind, target -> 'orders' FROM ops.operations WHERE service = %s AND finished_at IS NULL"
        " AND kind = ANY(%s) ORDER BY id FOR UPDATE",
        (service, list(KINDS)),
    ).fetchall()
    replicas = live_replicas(connection, service) if rows else None
    ended = []
    for operation_id, kind, seqs in rows:
        assert replicas is not None  # noqa: S101  # there are rows
        waits = [
            pending_reason_of(Order(topic, KINDS[kind], seq), partitions, replicas)
            for topic, seq in sorted(seqs.items())
        ]
        if reasons := [reason for reason in waits if reason]:
            operations_table.set_waiting_for(connection, operation_id, "; ".join(dict.fromkeys(reasons)))
        else:
            operations_table.finish(connection, operation_id, "succeeded")
            ended.append(operation_id)
    return ended


class KnownPartitions:
    """The partitions of the topics that a service can pause. Queried until every topic exists, then cached.

    `prefix` is the prefix of the topics' names in the database (for the log's local part beside Kafka). A topic that
    the service writes is a poller's output and counts as one partition: one replica at a time works on it.
    """

    def __init__(self, service: str, topics: Sequence[str], prefix: str = "") -> None:
        self._wanted = topics
        self._prefix = prefix
        self._partitions: dict[str, list[TopicPartition]] = {
            topic: [TopicPartition(topic, 0)] for topic in topics if topic in WRITES.get(service, ())
        }

    def __call__(self, connection: DbConnection) -> Partitions:
        if missing := [self._prefix + topic for topic in self._wanted if topic not in self._partitions]:
            rows = connection.execute(
                "SELECT name, partitions FROM broker.topics WHERE name = ANY(%s)", (missing,)
            ).fetchall()
            for name, count in rows:
                topic = name.removeprefix(self._prefix)
                self._partitions[topic] = [TopicPartition(topic, p) for p in range(count)]
        return self._partitions


def pending_reason_of(order: Order, partitions: Partitions, replicas: LiveReplicas) -> str | None:
    """Why an order is not effective yet, as text for people; None if it is effective."""
    if order.topic not in partitions:
        return f"topic {order.topic} does not exist yet"
    return pending_reason(order, partitions[order.topic], replicas.observed, replicas.obeyed)
