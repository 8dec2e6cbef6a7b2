"""Writes what a batch of facts changes, except the events' own rows (postgres_events.py)."""

from __future__ import annotations

from collections.abc import Mapping

from services.loader import postgres_events, resolve
from services.loader.effects import Effects, changed_cards, entity_keys, entity_rows, profile_rows, rate_rows
from services.loader.postgres_entities import fold_entities
from services.loader.postgres_merge import delete, insert, merge
from services.loader.postgres_past import write_past
from services.loader.postgres_sessions import fold_sessions
from services.loader.schema import ENTITIES, PROFILES, RETURN_RATES
from shared.database.connection import DbConnection


def write_shared(connection: DbConnection, effects: Effects) -> dict[str, resolve.IdsByKey]:
    """Write the rows that the batch's events share; returns the ids of sources, sessions and entities."""
    source_ids = resolve.sources(
        connection, {row.source for row in effects.sessions} | {source for source, _ in effects.changed_days}
    )
    sessions = resolve.sessions(connection, source_ids, effects.sessions)
    entities = _insert_entities(connection, effects, source_ids)
    # An entity has no row if its only card is withdrawn in the batch that lists it.
    if removed := sorted(key for key in effects.removed_profiles if key[0] in entities):
        delete(connection, PROFILES, removed, {"entities": entities})
    if effects.profiles or removed:
        insert(connection, {PROFILES: profile_rows(effects)}, {"entities": entities})
        stated = (profile.stated for profile in effects.profiles.values())
        fold_entities(connection, stated, {key for key, _, _ in removed}, entities)
    return {"sources": source_ids, "sessions": sessions, "entities": entities}


def _insert_entities(connection: DbConnection, effects: Effects, source_ids: resolve.IdsByKey) -> resolve.IdsByKey:
    """Insert the entities that are new; returns the ids of all that the batch refers to."""
    keys = entity_keys(effects)
    ids = resolve.entities(connection, keys)
    if new := entity_rows(effects, keys - ids.keys()):
        merge(connection, {ENTITIES: new}, {"sources": source_ids})
        ids |= resolve.entities(connection, [row[0] for row in new])
    return ids


def write_rows(
    connection: DbConnection, effects: Effects, resolved_ids: Mapping[str, resolve.IdsByKey], slot: str
) -> None:
    """Write the rows that belong to one event, the return rates, and title and grade of sessions. The events are
    written."""
    postgres_events.clear_columns(connection, effects.cleared_kinds)
    insert(connection, effects.new_rows, resolved_ids)
    for table, gone in effects.removed_rows.items():
        delete(connection, table, gone, resolved_ids)
    merge(connection, effects.rows | {RETURN_RATES: rate_rows(effects, slot)}, resolved_ids)
    write_past(connection, effects.revised, resolved_ids)
    fold_sessions(connection, changed_cards(effects))
