"""Notes in ops.attempts which process handles a partition, so that a successor knows that it was killed.

A process writes a row when it takes a partition and deletes it when it ends, if it is not killed. Every function runs
within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.broker.contract import TopicPartition
from shared.database.connection import DbConnection

# A process that was killed while no death was known may have been handling anything after its position. Later deaths
# count only at the batch that was noted before it was handled.
_TAKE = """
INSERT INTO ops.attempts AS a (service, topic, p, incarnation)
SELECT %(service)s, w.topic, w.p, %(incarnation)s
FROM unnest(%(topics)s::text[], %(ps)s::bigint[]) AS w(topic, p) ORDER BY w.topic, w.p
ON CONFLICT (service, topic, p) DO UPDATE SET incarnation = excluded.incarnation, at_offset = NULL,
    deaths = CASE WHEN a.incarnation = excluded.incarnation THEN a.deaths
                  WHEN a.deaths = 0 THEN 1
                  WHEN a.at_offset = (%(offsets)s::jsonb ->> (a.topic || '/' || a.p))::bigint THEN a.deaths + 1
                  ELSE a.deaths END
RETURNING topic, p, deaths
"""
_OF_PARTITIONS = "service = %s AND incarnation = %s AND (topic, p) IN (SELECT * FROM unnest(%s::text[], %s::bigint[]))"


def take(
    connection: DbConnection, service: str, incarnation: UUID, offsets: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Notes that this process handles partitions, whose next records are at `offsets`. Returns how many processes in a
    row were killed at these records; 0 if the last process ended cleanly."""
    rows = connection.execute(
        _TAKE,
        {
            "service": service, "incarnation": incarnation,
            "topics": [tp.topic for tp in offsets], "ps": [tp.partition for tp in offsets],
            "offsets": Jsonb({f"{tp.topic}/{tp.partition}": offset for tp, offset in offsets.items()}),
        },
    ).fetchall()  # fmt: skip
    return {TopicPartition(topic, p): deaths for topic, p, deaths in rows}


def note(
    connection: DbConnection, service: str, incarnation: UUID, offsets: Mapping[TopicPartition, int | None]
) -> None:
    """Notes the first offset of the batch that is handled next; None: none is."""
    connection.execute(
        "UPDATE ops.attempts a SET at_offset = w.at"
        " FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS w(topic, p, at)"
        " WHERE a.service = %s AND a.incarnation = %s AND a.topic = w.topic AND a.p = w.p",
        (*_columns(offsets), list(offsets.values()), service, incarnation),
    )


def clear(connection: DbConnection, service: str, incarnation: UUID, tps: Collection[TopicPartition]) -> None:
    """Forgets the deaths: the records at which they happened are handled."""
    connection.execute(
        f"UPDATE ops.attempts SET deaths = 0, at_offset = NULL WHERE {_OF_PARTITIONS}",
        (service, incarnation, *_columns(tps)),
    )


def release(connection: DbConnection, service: str, incarnation: UUID, tps: Collection[TopicPartition]) -> None:
    """Notes that this process no longer handles these partitions."""
    connection.execute(
        f"DELETE FROM ops.attempts WHERE {_OF_PARTITIONS} AND deaths = 0", (service, incarnation, *_columns(tps))
    )
    connection.execute(
        f"UPDATE ops.attempts SET at_offset = NULL WHERE {_OF_PARTITIONS}", (service, incarnation, *_columns(tps))
    )


def _columns(tps: Collection[TopicPartition]) -> tuple[list[str], list[int]]:
    return [tp.topic for tp in tps], [tp.partition for tp in tps]
