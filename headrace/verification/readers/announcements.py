"""Finds facts that were announced downstream and whose record of loaded-events is missing in the database's log."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from headrace.audit.readers.topics import LogReading
from headrace.verification.id_set import IdSet
from headrace.verification.inconsistency import Inconsistency
from headrace.verification.readers.cursors import stream
from shared.broker.contract import Record
from shared.broker.postgres.log import LOCAL_PREFIX
from shared.database.connection import DbConnection
from shared.topics import LOADED

_ANNOUNCED = (
    "SELECT e.event_key, v.kind, v.version, v.record_id FROM facts.versions v"
    " JOIN facts.events e ON e.id = v.event_id WHERE v.told ORDER BY 1, 2, 3"
)
_DELETED = (
    "SELECT FROM broker.partitions part JOIN broker.topics t ON t.id = part.topic_id"
    " WHERE t.name = %s AND part.begin_off > 0 LIMIT 1"
)
_REMEDY = "announce the event again: headrace replay of the loader for its day (docs/operations.md)"


def missing_announcements(snapshot: DbConnection, current: DbConnection) -> Iterator[Inconsistency]:
    """Nothing if retention has deleted records, or if Kafka has them: `headrace audit` reads it.

    `current` reads the log after the snapshot, so each record of the snapshot's facts is in it. Eight bytes of each
    record's id are in memory.
    """
    embedded = current.execute("SELECT FROM broker.topics WHERE name = %s", (LOADED,)).fetchone() is not None
    prefix = "" if embedded else LOCAL_PREFIX
    if current.execute(_DELETED, (prefix + LOADED,)).fetchone() is not None:
        return
    reading = LogReading(current, prefix)
    ids = IdSet(_id_of(record) for record in reading.records(LOADED))
    if not reading.extents or any(extent.begin > 0 for extent in reading.extents.values()):
        return
    for event_key, kind, number, record_id in stream(snapshot, "announced", _ANNOUNCED):
        if record_id not in ids:
            key = f"{event_key} {kind} {number}"
            yield Inconsistency(LOADED, key, f"a record with event_id {record_id}", "absent", _REMEDY)


def _id_of(record: Record) -> UUID:
    try:
        return UUID(record.headers.get("event_id", b"").decode(errors="replace"))
    except ValueError:
        return UUID(int=0)
