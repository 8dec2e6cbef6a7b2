"""Records lost records in broker.losses, and what people accepted. Each function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from shared.broker.contract import Loss, TopicPartition
from shared.database.connection import DbConnection


class OpenLoss(NamedTuple):
    """A loss that no person has accepted."""

    tp: TopicPartition
    kind: str
    position: int
    continue_at: int
    records: int
    found_at: datetime


class AcceptedLoss(NamedTuple):
    topic: str
    partition: int
    kind: str
    position: int
    continue_at: int
    records: int


def settle(
    connection: DbConnection, group: str, losses: Mapping[TopicPartition, Loss], sound: Collection[TopicPartition] = ()
) -> tuple[dict[TopicPartition, Loss], dict[TopicPartition, Loss]]:
    """Record losses; returns the accepted ones and the others. Forgets the open losses of `sound` partitions."""
    accepted: dict[TopicPartition, Loss] = {}
    waiting: dict[TopicPartition, Loss] = {}
    for tp in sorted(losses):
        loss, is_accepted = _record(connection, group, tp, losses[tp])
        (accepted if is_accepted else waiting)[tp] = loss
    if sound:
        connection.execute(
            "DELETE FROM broker.losses WHERE grp = %s AND accepted_at IS NULL"
            " AND (topic, p) IN (SELECT * FROM unnest(%s::text[], %s::int[]))",
            (group, [tp.topic for tp in sound], [tp.partition for tp in sound]),
        )
    return accepted, waiting


def open_losses(connection: DbConnection, group: str) -> list[OpenLoss]:
    rows = connection.execute(
        "SELECT topic, p, kind, position, continue_at, records, found_at FROM broker.losses WHERE grp = %s"
        " AND accepted_at IS NULL ORDER BY topic, p",
        (group,),
    ).fetchall()
    return [OpenLoss(TopicPartition(topic, p), *rest) for topic, p, *rest in rows]


def accept(connection: DbConnection, group: str, tp: TopicPartition | None, accepted_by: str) -> list[AcceptedLoss]:
    """Accept the open losses of a group, of all partitions or of one. Its replicas continue within seconds."""
    rows = connection.execute(
        "UPDATE broker.losses SET accepted_by = %s, accepted_at = clock_timestamp() WHERE grp = %s"
        " AND accepted_at IS NULL AND (%s::text IS NULL OR topic = %s AND p = %s)"
        " RETURNING topic, p, kind, position, continue_at, records",
        (accepted_by, group, tp and tp.topic, tp and tp.topic, tp and tp.partition),
    ).fetchall()
    return sorted(AcceptedLoss(*row) for row in rows)


def _record(connection: DbConnection, group: str, tp: TopicPartition, loss: Loss) -> tuple[Loss, bool]:
    """The loss with what was not counted before, and whether it was accepted. An acceptance holds for one position in
    one topic: what is lost later needs another one."""
    row = connection.execute(
        "SELECT kind, position, kafka_id, records, accepted_at IS NOT NULL FROM broker.losses"
        " WHERE grp = %s AND topic = %s AND p = %s FOR UPDATE",
        (group, *tp),
    ).fetchone()
    is_known = row is not None and row[:3] == (loss.kind, loss.position, loss.kafka_id)
    counted, is_accepted = (row[3], row[4]) if row is not None and is_known else (0, False)
    connection.execute(
        "INSERT INTO broker.losses (grp, topic, p, kind, position, kafka_id, continue_at, records)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (grp, topic, p) DO UPDATE SET kind = excluded.kind,"
        " position = excluded.position, kafka_id = excluded.kafka_id, continue_at = excluded.continue_at,"
        " records = excluded.records, found_at = CASE WHEN %s THEN losses.found_at ELSE excluded.found_at END,"
        " accepted_by = CASE WHEN %s THEN losses.accepted_by END,"
        " accepted_at = CASE WHEN %s THEN losses.accepted_at END",
        (group, *tp, loss.kind, loss.position, loss.kafka_id, loss.continue_at, loss.records, *[is_known] * 3),
    )
    return loss._replace(uncounted=max(0, loss.records - counted)), is_accepted
