"""Finds facts that were announced downstream and whose record of loaded-events is missing in the database's log."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.audit.readers.topics import LogReading
from headrace.verification.inconsistency import Inconsistency
from shared.broker.postgres.log import LOCAL_PREFIX
from shared.database.connection import DbConnection
from shared.topics import LOADED

_ANNOUNCED = (
    "SELECT e.event_key, v.kind, v.version, v.record_id::text FROM facts.versions v"
    " JOIN facts.events e ON e.id = v.event_id WHERE v.told ORDER BY 1, 2, 3"
)
_REMEDY = "announce the event again: headrace replay of the loader for its day (docs/operations.md)"


def missing_announcements(snapshot: DbConnection, current: DbConnection) -> Iterator[Inconsistency]:
    """Nothing if retention has deleted records, or if Kafka has them: `headrace audit` reads it.

    `current` reads the log after the snapshot, so each record of the snapshot's facts is in it.
    """
    embedded = current.execute("SELECT FROM broker.topics WHERE name = %s", (LOADED,)).fetchone() is not None
    reading = LogReading(current, "" if embedded else LOCAL_PREFIX)
    ids = {record.headers.get("event_id", b"").decode(errors="replace") for record in reading.records(LOADED)}
    if not reading.extents or any(extent.begin > 0 for extent in reading.extents.values()):
        return
    for event_key, kind, number, record_id in snapshot.execute(_ANNOUNCED):
        if record_id not in ids:
            key = f"{event_key} {kind} {number}"
            yield Inconsistency(LOADED, key, f"a record with event_id {record_id}", "absent", _REMEDY)
