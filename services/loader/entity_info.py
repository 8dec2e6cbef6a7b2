"""Merges what several cards state about one entity.

The newest card with a different value wins; values that it lacks are kept. `known_at` is the time since which the
merged info is known, so a card that only repeats it changes no row. Thousands of cards do, and otherwise concurrent
loaders would wait for each other's row locks on every entity. The price: when two loaders process the cards A, B, A in
the order A, A, B, the result is B.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from shared.events import EntityInfo


class DatedEntityInfo(NamedTuple):
    """An entity as one card states it; `known_at` is when the card became known."""

    known_at: datetime
    source: str
    info: EntityInfo


def merge(before: DatedEntityInfo, other: DatedEntityInfo) -> DatedEntityInfo:
    """Merge the two, in either order. `_UPDATE_ENTITIES` in services/loader/postgres_merge.py does the same in SQL."""
    older, newer = (before, other) if other.known_at >= before.known_at else (other, before)
    if (newer.info.name, newer.info.categories) == (older.info.name, older.info.categories):  # the usual case
        return older
    info = EntityInfo(
        entity_key=newer.info.entity_key,
        name=newer.info.name or older.info.name,
        categories=older.info.categories | newer.info.categories,
    )
    if (info.name, info.categories) == (older.info.name, older.info.categories):
        return older
    return newer._replace(info=info)
