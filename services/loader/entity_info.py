"""Folds what the cards state about one entity, its profiles, into what is known of it.

The newest profile with a different value wins; values that it lacks are kept. `known_at` of the result is the time
since which it is known, so a profile that only repeats it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import reduce
from typing import NamedTuple
from uuid import UUID

from shared.events import EntityInfo

ANY_RECORD = UUID(int=0)


class DatedEntityInfo(NamedTuple):
    """A profile: an entity as the card of one record states it; `known_at` is when the card became known."""

    known_at: datetime
    source: str
    info: EntityInfo
    record_id: UUID = ANY_RECORD


def merge(before: DatedEntityInfo, other: DatedEntityInfo) -> DatedEntityInfo:
    """Merge a profile into the fold of older ones."""
    stated = {name: value for name, value in other.info.categories.items() if value is not None}
    name, categories = other.info.name or before.info.name, before.info.categories | stated
    if (name, categories) == (before.info.name, before.info.categories):
        return before
    return other._replace(info=EntityInfo(entity_key=other.info.entity_key, name=name, categories=categories))


def fold_profiles(profiles: Iterable[DatedEntityInfo]) -> DatedEntityInfo:
    """The fold of one or more profiles of an entity, in any order. Equal `known_at` are ordered by record id."""
    return reduce(merge, sorted(profiles, key=_order))


def is_repeated(before: DatedEntityInfo, profile: DatedEntityInfo) -> bool:
    """Whether the profile cannot change `before`, the fold of all others: it is newer and states nothing else."""
    if profile.known_at < before.known_at or (profile.info.name or before.info.name) != before.info.name:
        return False
    known = before.info.categories
    return all(value is None or known.get(name) == value for name, value in profile.info.categories.items())


def refold(before: DatedEntityInfo, part: Sequence[DatedEntityInfo], *, is_start: bool) -> DatedEntityInfo | None:
    """The fold of all profiles, computed from a part of them; None if the part does not suffice.

    `before` is the stored fold. `part` has all profiles from the newest one before the first new profile (`is_start`
    if there is none), either to the last one, or to `before.known_at` if all new ones are older. It suffices if its
    first profile states every value, a later one changes a value, and those that it leaves out still change nothing.
    """
    first = min(part, key=_order)
    after = fold_profiles(part)
    names = before.info.categories.keys() | after.info.categories.keys()
    has_name = first.info.name is not None or before.info.name is after.info.name is None
    states_all = has_name and first.info.categories.keys() >= names
    if not is_start and (not states_all or after.known_at == first.known_at):
        return None
    is_equal = (after.info.name, after.info.categories) == (before.info.name, before.info.categories)
    covers_all = max(profile.known_at for profile in part) > before.known_at
    return after if covers_all or is_equal else None


def _order(profile: DatedEntityInfo) -> tuple[datetime, UUID]:
    return profile.known_at, profile.record_id
