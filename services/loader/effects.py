"""What a batch of facts changes: rows to write and to delete, and records of loaded-events, computed in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from services.loader import returns
from services.loader.entity_info import DatedEntityInfo, fold_profiles
from services.loader.rows import Row, SessionRow, known_json
from services.loader.schema import ENTRIES, FACT_TABLES, VERSIONS, Table
from shared.events import Measures
from shared.records import DecodedRecord


@dataclass
class LoadedFact:
    """The content of a record of loaded-events, except the id of the event's row, which is resolved later."""

    received: DecodedRecord
    known_at: datetime
    version: int
    status: str
    scheduled_at: datetime | None
    changed: tuple[str, ...]


ProfileKey = tuple[str, datetime, UUID]
"""Entity key, known_at and record id."""


class EntityProfile(NamedTuple):
    """What one card states about an entity: a row of facts.profiles."""

    stated: DatedEntityInfo
    measures: Measures


@dataclass
class Effects:
    """All changes of one batch to the tables, in memory."""

    # Rows of facts without an earlier version, and all versions: none of them should exist yet.
    new_rows: dict[Table, list[Row]] = field(default_factory=lambda: {table: [] for table in (*FACT_TABLES, VERSIONS)})
    rows: dict[Table, list[Row]] = field(default_factory=lambda: {table: [] for table in FACT_TABLES})
    removed_rows: dict[Table, list[Row]] = field(default_factory=lambda: defaultdict(list))
    sessions: list[SessionRow] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    profiles: dict[ProfileKey, EntityProfile] = field(default_factory=dict)
    removed_profiles: set[ProfileKey] = field(default_factory=set)
    revised: set[str] = field(default_factory=set)  # events with several versions of a kind: their past changed
    cleared_kinds: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # kind to event keys
    rates: dict[str, dict[returns.Cell, list[Any]]] = field(default_factory=lambda: defaultdict(dict))  # see rate_rows
    changed_days: set[tuple[str, date]] = field(default_factory=set)
    loaded_facts: list[LoadedFact] = field(default_factory=list)
    regression_counts: Counter[str] = field(default_factory=Counter)  # by kind of fact
    withheld_count: int = 0  # facts that became known after the as-of limit


def changed_cards(effects: Effects) -> set[str]:
    """The events whose card is new, changed or withdrawn."""
    stated = {key for key, columns in effects.events.items() if "session" in columns}
    return stated.union(effects.cleared_kinds.get("listed", ()))


def entity_keys(effects: Effects) -> set[str]:
    """The keys of all entities that rows of the batch refer to, or whose profiles it removes."""
    position = ENTRIES.columns.index("entity_id")
    entries = chain(effects.new_rows[ENTRIES], effects.rows[ENTRIES])
    profiles = chain(effects.profiles, effects.removed_profiles)
    return {key for row in entries if (key := row[position]) is not None} | {profile[0] for profile in profiles}


def entity_rows(effects: Effects, keys: Set[str]) -> list[Row]:
    """Rows for facts.entities of the entities in `keys` that the batch's cards state, with the source's name in place
    of its id: each is the fold of the batch's profiles."""
    by_entity: dict[str, list[DatedEntityInfo]] = defaultdict(list)
    for (entity_key, _, _), profile in effects.profiles.items():
        if entity_key in keys:
            by_entity[entity_key].append(profile.stated)
    folds = {key: each[0] if len(each) == 1 else fold_profiles(each) for key, each in by_entity.items()}
    return [
        (key, fold.source, fold.info.name, known_json(fold.info.categories.items()) or "{}", fold.known_at)
        for key, fold in folds.items()
    ]


def profile_rows(effects: Effects) -> list[Row]:
    """Rows for facts.profiles, with the entity's key in place of its id."""
    return [
        (*key, stated.info.name, *(known_json(each.items()) or "{}" for each in (stated.info.categories, measures)))
        for key, (stated, measures) in effects.profiles.items()
    ]


def rate_rows(effects: Effects, slot: str) -> list[Row]:
    """Rows for facts.return_rates: per cell (scope, key, market) what to add to the totals of this loader's slot.

    Each slot has rows of its own, so that loaders do not wait for each other; the totals of all slots are summed.
    """
    return [
        (slot, source, *cell, *sums)
        for source, cells in effects.rates.items()
        for cell, sums in returns.expand(cells).items()
    ]
