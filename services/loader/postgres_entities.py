"""Writes facts.entities: the fold of the profiles of each entity.

A transaction writes its profiles first, then takes one lock for all folds, which it holds to its end. Of two loaders
with profiles of one entity the later one therefore sees those of both, whatever the order in which they arrive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.loader.entity_info import DatedEntityInfo, fold_profiles, is_repeated, refold
from services.loader.resolve import IdsByKey
from services.loader.rows import known_json
from shared.database.connection import DbConnection
from shared.events import EntityInfo

_STORED = "SELECT id, known_at, name, categories FROM facts.entities WHERE id = ANY(%b)"
_PART = """
SELECT p.entity_id, p.known_at, p.record_id, p.name, p.categories, lower.at IS NULL
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) AS w(id, first, until)
CROSS JOIN LATERAL (
    SELECT max(q.known_at) AS at FROM facts.profiles q WHERE q.entity_id = w.id AND q.known_at < w.first
) lower
JOIN facts.profiles p ON p.entity_id = w.id AND p.known_at >= coalesce(lower.at, '-infinity')
    AND p.known_at <= w.until
"""
_ALL = (
    "SELECT p.entity_id, p.known_at, p.record_id, p.name, p.categories FROM facts.profiles p"
    " WHERE p.entity_id = ANY(%s)"
)
_UPDATE = """
UPDATE facts.entities t SET name = w.name, categories = w.categories, known_at = w.known_at
FROM unnest(%s::bigint[], %s::text[], %s::jsonb[], %s::timestamptz[]) AS w(id, name, categories, known_at)
WHERE t.id = w.id AND (t.name, t.categories, t.known_at) IS DISTINCT FROM (w.name, w.categories, w.known_at)
"""


class _Fold(NamedTuple):
    """The stored fold of an entity, and the part of its profiles to read (services/loader/entity_info.py)."""

    stored: DatedEntityInfo
    first: datetime
    until: datetime | str


def lock_folds(connection: DbConnection) -> None:
    """Lock the folds of all entities against other writers until the transaction ends. Blocks while another one has
    them. One lock in memory costs less than one on each row."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('headrace entities'), 0)")


def fold_entities(
    connection: DbConnection, profiles: Iterable[DatedEntityInfo], removed: Collection[str], ids: IdsByKey
) -> None:
    """Fold the entities of new profiles, and those of the keys in `removed`, which lost one.

    The profiles must be written already. `ids` has every entity that is stored. Takes the lock of the folds.
    """
    lock_folds(connection)
    whole = [ids[key] for key in removed if key in ids]
    folds = _changed_folds(connection, profiles, ids)
    after, insufficient = _refolded({key: fold for key, fold in folds.items() if key not in whole}, connection)
    whole += insufficient
    if whole:
        grouped = profiles_by_entity(row for row in connection.execute(_ALL, (whole,)))
        after |= {entity_id: fold_profiles(each) for entity_id, each in grouped.items()}
        unstated = [entity_id for entity_id in whole if entity_id not in grouped]
        connection.execute("UPDATE facts.entities SET name = NULL, categories = '{}' WHERE id = ANY(%s)", (unstated,))
    write_folds(connection, after)


def write_folds(connection: DbConnection, folds: dict[int, DatedEntityInfo]) -> int:
    """Update the rows, by id; returns how many changed."""
    if not folds:
        return 0
    infos = [fold.info for fold in folds.values()]
    return connection.execute(
        _UPDATE,
        (
            list(folds),
            [info.name for info in infos],
            [known_json(info.categories.items()) or "{}" for info in infos],
            [fold.known_at for fold in folds.values()],
        ),
    ).rowcount


def _changed_folds(connection: DbConnection, profiles: Iterable[DatedEntityInfo], ids: IdsByKey) -> dict[int, _Fold]:
    """The stored folds that a profile may change, by id."""
    by_entity: dict[int, list[DatedEntityInfo]] = defaultdict(list)
    for profile in profiles:
        by_entity[ids[profile.info.entity_key]].append(profile)
    if not by_entity:
        return {}
    folds = {}
    for entity_id, known_at, name, categories in connection.execute(_STORED, (list(by_entity),)):
        stored = _profile(known_at, None, name, categories)
        if changing := [each for each in by_entity[entity_id] if not is_repeated(stored, each)]:
            is_newer = any(each.known_at >= known_at for each in changing)
            first = min(each.known_at for each in changing)
            folds[entity_id] = _Fold(stored, first, "infinity" if is_newer else known_at)
    return folds


def _refolded(folds: dict[int, _Fold], connection: DbConnection) -> tuple[dict[int, DatedEntityInfo], list[int]]:
    """The new folds by id, and the ids of those for which all profiles are needed."""
    if not folds:
        return {}, []
    rows = connection.execute(
        _PART, (list(folds), [fold.first for fold in folds.values()], [str(fold.until) for fold in folds.values()])
    ).fetchall()
    starts = {row[0]: row[5] for row in rows}
    after, insufficient = {}, []
    for entity_id, part in profiles_by_entity(row[:5] for row in rows).items():
        fold = refold(folds[entity_id].stored, part, is_start=starts[entity_id])
        if fold is None:
            insufficient.append(entity_id)
        else:
            after[entity_id] = fold
    return after, insufficient


def profiles_by_entity(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[DatedEntityInfo]]:
    """The profiles by the id of their entity. A row has the entity's id, known_at, record id, name and categories."""
    grouped: dict[int, list[DatedEntityInfo]] = defaultdict(list)
    for entity_id, known_at, record_id, name, categories in rows:
        grouped[entity_id].append(_profile(known_at, record_id, name, categories))
    return grouped


def _profile(known_at: datetime, record_id: UUID | None, name: str | None, categories: Any) -> DatedEntityInfo:
    info = EntityInfo(entity_key="-", name=name, categories=categories)  # the fold does not read the key
    return DatedEntityInfo(known_at, "", info, *([] if record_id is None else [record_id]))
