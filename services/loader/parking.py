"""Parks facts and predictions whose event is not listed yet, and releases them when it is, in the same transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson

from shared.broker.contract import Record
from shared.database.connection import DbConnection
from shared.events import Prediction, Withdrawal
from shared.records import DecodedRecord, decode

FACT_KINDS = ("listed", "observed", "settled")
PREDICTION = "prediction"


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
                    child.record.offset, kind_of(child.message), child.record.value,
                    orjson.dumps({name: value.decode() for name, value in child.record.headers.items()}).decode(),
                    parked_at,
                )
                for child in children
            ],
        )  # fmt: skip


def release(connection: DbConnection, parent_keys: Iterable[str], kinds: Collection[str]) -> list[DecodedRecord]:
    """Remove and return the parked records of these kinds and events, in order of arrival."""
    rows = connection.execute(
        "DELETE FROM facts.parked WHERE parent_key = ANY(%b) AND kind = ANY(%s)"
        " RETURNING parked_at, topic, p, off, parent_key, value, headers",
        (sorted(parent_keys), list(kinds)),
    ).fetchall()
    return [
        decode(Record(topic, p, off, 0, key.encode(), value, {name: text.encode() for name, text in headers.items()}))
        for _, topic, p, off, key, value, headers in sorted(rows, key=lambda row: row[:4])
    ]


def kind_of(message: Any) -> str:
    """The kind of a fact, of the fact that a withdrawal withdraws, or `prediction`."""
    if isinstance(message, Prediction):
        return PREDICTION
    return message.fact if isinstance(message, Withdrawal) else str(message.kind)
