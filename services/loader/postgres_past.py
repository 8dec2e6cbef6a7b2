"""Writes facts.past_facts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from services.loader.as_of import StoredVersion
from services.loader.past import past_facts
from services.loader.postgres_merge import delete, merge
from services.loader.postgres_state import decode_body
from services.loader.rows import Row, json_text
from services.loader.schema import PAST_FACTS
from shared.database.connection import DbConnection

_VERSIONS = (
    "SELECT e.event_key, v.kind, v.version, v.revision, v.record_id, v.body FROM facts.versions v"
    " JOIN facts.events e ON e.id = v.event_id WHERE e.event_key = ANY(%s)"
)
_STORED = (
    "SELECT e.event_key, p.kind, p.valid_from FROM facts.past_facts p JOIN facts.events e ON e.id = p.event_id"
    " WHERE e.event_key = ANY(%s)"
)


def write_past(connection: DbConnection, event_keys: Collection[str], resolved_ids: Mapping[str, Any]) -> None:
    """Bring the past of these events up to date with their versions. Call after the versions are written."""
    if not event_keys:
        return
    stored: dict[str, list[StoredVersion]] = defaultdict(list)
    for event_key, kind, number, revision, record_id, body in connection.execute(_VERSIONS, (sorted(event_keys),)):
        stored[event_key].append(StoredVersion(kind, number, revision, record_id, decode_body(body)))
    replace_past(connection, stored, resolved_ids)


def replace_past(
    connection: DbConnection, stored: Mapping[str, list[StoredVersion]], resolved_ids: Mapping[str, Any]
) -> None:
    """Write the past of events with these versions, by event key. Rows that are equal are not written again."""
    rows = [row for event_key, versions in stored.items() for row in past_rows(event_key, versions)]
    remaining = {row[: len(PAST_FACTS.key)] for row in rows}
    gone = [key for key in connection.execute(_STORED, (list(stored),)).fetchall() if key not in remaining]
    if gone:
        delete(connection, PAST_FACTS, gone, resolved_ids)
    merge(connection, {PAST_FACTS: rows}, resolved_ids)


def past_rows(event_key: str, stored: list[StoredVersion]) -> list[Row]:
    """Rows of facts.past_facts, with the event's key in place of its id."""
    return [(event_key, *past[:-1], json_text(past.fact)) for past in past_facts(event_key, stored)]
