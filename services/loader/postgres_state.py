"""Reads the stored states and versions of a batch's events."""

from __future__ import annotations

from collections.abc import Iterable

import zstandard

from services.loader.fact_tree import FactEvent
from services.loader.fold import FactVersion, supersede
from services.loader.rows import known_at_of
from services.loader.state import EventState
from shared.database.connection import DbConnection
from shared.events import STORED_VERSION, Reference, Withdrawal


def read_states(connection: DbConnection, keys_and_kinds: Iterable[tuple[str, str]]) -> dict[str, EventState]:
    """States of the events that are loaded, by event key, with the versions of each requested (event key, kind)."""
    pairs = sorted(set(keys_and_kinds))
    states = {
        key: EventState(key, row_id, scheduled_at, status, version)
        for key, row_id, scheduled_at, status, version in connection.execute(
            "SELECT event_key, id, scheduled_at, status, version FROM facts.events WHERE event_key = ANY(%b)",
            (sorted({key for key, _ in pairs}),),
        )
    }
    ids_and_kinds = [(states[key].id, kind) for key, kind in pairs if key in states]
    if ids_and_kinds:
        _read_versions(connection, ids_and_kinds, {state.id: state for state in states.values()})
    return states


def decode_body(body: bytes) -> FactEvent | Withdrawal:
    """The message in `facts.versions.body`: the record's JSON, compressed with zstd by services/loader/apply.py."""
    message = STORED_VERSION.validate_json(zstandard.ZstdDecompressor().decompress(body))
    if isinstance(message, Reference):
        raise TypeError("expected a fact in facts.versions, got reference data")
    return message


def _read_versions(
    connection: DbConnection, ids_and_kinds: list[tuple[int | None, str]], states: dict[int | None, EventState]
) -> None:
    rows = connection.execute(
        "SELECT v.event_id, v.kind, v.version, v.revision, v.record_id, v.body FROM facts.versions v"
        " JOIN unnest(%b::bigint[], %b::text[]) AS w(event_id, kind) USING (event_id, kind)"
        " ORDER BY v.event_id, v.version",
        ([event_id for event_id, _ in ids_and_kinds], [kind for _, kind in ids_and_kinds]),
    )
    for event_id, kind, number, revision, record_id, body in rows:
        state, fact = states[event_id], decode_body(body)
        state.version_counts[kind] = number
        if isinstance(fact, Withdrawal):
            state.withdraw(kind, record_id, revision)
            continue
        # Dated by the current schedule, which may differ from the one when the version was stored.
        version = FactVersion(known_at_of(fact, state.scheduled_at), revision, record_id, fact)
        state.versions[kind] = supersede(state.versions.get(kind, ()), version)
