"""Parks facts whose event is not listed yet, and releases them in the transaction that lists the event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import orjson

from shared.broker.contract import Record
from shared.database.connection import DbConnection
from shared.records import DecodedRecord, decode


def park(connection: DbConnection, children: Sequence[DecodedRecord], parked_at: datetime) -> None:
    """Store the complete records, so that a released one is handled as if it had just arrived.

    A record that arrives again keeps its place in the order; its value is replaced if the revision is newer.
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
                    orjson.dumps({name: value.decode() for name, value in child.record.headers.items()}).decode(),
                    parked_at,
                )
                for child in children
            ],
        )  # fmt: skip


def release(connection: DbConnection, parent_keys: Iterable[str]) -> list[DecodedRecord]:
    """Remove and return the parked facts of these events, in order of arrival."""
    rows = connection.execute(
        "DELETE FROM facts.parked WHERE parent_key = ANY(%s)"
        " RETURNING parked_at, topic, p, off, parent_key, value, headers",
        (sorted(parent_keys),),
    ).fetchall()
    return [
        decode(Record(topic, p, off, 0, key.encode(), value, {name: text.encode() for name, text in headers.items()}))
        for _, topic, p, off, key, value, headers in sorted(rows, key=lambda row: row[:4])
    ]
