"""Children whose parent is not there yet: kept durably, released in the parent's own transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import orjson

from shared.broker.contract import Record
from shared.database.connection import DbConnection
from shared.records import Received, decode


def park(connection: DbConnection, children: Sequence[Received], at: datetime) -> None:
    """Keep the records whole: released, they are handled as if they came just then.

    One that comes again keeps its place in the order; one of a newer revision replaces what was said before.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO facts.parked (record_id, parent_key, topic, p, off, kind, reason, value, headers, parked_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, 'event not listed yet', %s, %s, %s)"
            " ON CONFLICT (record_id) DO UPDATE SET value = excluded.value, headers = excluded.headers"
            " WHERE parked.headers ->> 'revision' < excluded.headers ->> 'revision' COLLATE \"C\"",
            [
                (
                    child.event_id, child.message.event_key, child.record.topic, child.record.partition,
                    child.record.offset, child.message.kind, child.record.value,
                    orjson.dumps({name: value.decode() for name, value in child.record.headers.items()}).decode(), at,
                )
                for child in children
            ],
        )  # fmt: skip


def release(connection: DbConnection, parent_keys: Iterable[str]) -> list[Received]:
    """Take the children of these events out of the parking place, each event's in the order in which they came."""
    found = connection.execute(
        "DELETE FROM facts.parked WHERE parent_key = ANY(%s)"
        " RETURNING parked_at, topic, p, off, parent_key, value, headers",
        (sorted(parent_keys),),
    ).fetchall()
    return [
        decode(Record(topic, p, off, 0, key.encode(), value, {name: text.encode() for name, text in headers.items()}))
        for _, topic, p, off, key, value, headers in sorted(found, key=lambda row: row[:4])
    ]
