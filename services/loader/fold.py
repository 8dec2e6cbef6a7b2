"""Folds all versions of a fact into its current state.

Each version is a tree of named values. The versions, sorted by `known_at`, are merged into one tree:
* a value that was unknown is filled in;
* a different value replaces the older one: a correction;
* a missing value keeps the older one: a regression.
The result therefore depends on the versions only, not on the order in which they arrived
(docs/adr/0004-facts-are-folds.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.loader.fact_tree import FactEvent, Tree, fact_of, leaves, text_of, tree_of

# Derived from other values, so their changes are neither corrections nor regressions.
_DERIVED = {"missing_markets", "card_key"}
_RANK = {"provisional": 0, "cancelled": 1, "void": 2, "settled": 2}


class Version(NamedTuple):
    """One version of a fact; versions are sorted by `known_at`, then by `revision`."""

    known_at: datetime
    revision: str
    record_id: UUID
    fact: FactEvent


class Change(NamedTuple):
    """A field with two different values; `old` is None if it was unknown, `new` is None if it was removed."""

    field: str
    old: str | None
    new: str | None


class Note(NamedTuple):
    """A correction or regression, with the record and the time of the version that made it."""

    record_id: UUID
    known_at: datetime
    change: Change


class Folded(NamedTuple):
    """The current state of a fact, and the corrections and regressions found while folding."""

    fact: FactEvent
    changed_at: datetime  # `known_at` of the last version that changed a value
    corrected: frozenset[Note] = frozenset()
    regressed: frozenset[Note] = frozenset()


def fold(versions: Iterable[Version]) -> Folded:
    """Fold one or more versions, in any order; equal (`known_at`, `revision`) keep the order given.

    The fields about the message itself (source, hash ...) are those of the latest version.
    """
    first, *later = sorted(versions, key=lambda version: version[:2])
    if not later:  # the usual case
        return Folded(first.fact, first.known_at)
    tree, changed_at = tree_of(first.fact), first.known_at
    corrected: list[Note] = []
    regressed: list[Note] = []
    for version in later:
        said = tree_of(version.fact)
        merged = _merge(tree, said)
        if merged != tree:
            changed_at = version.known_at
        corrected += _notes(version, _corrections(tree, merged))
        regressed += _notes(version, _regressions(merged, said))
        tree = merged
    return Folded(fact_of(later[-1].fact, tree), changed_at, frozenset(corrected), frozenset(regressed))


def supersede(versions: Iterable[Version], new: Version) -> list[Version]:
    """Append `new`, replacing an earlier version of the same record (from before a replay under changed rules)."""
    return [version for version in versions if version.record_id != new.record_id] + [new]


def changed_fields(before: FactEvent, after: FactEvent) -> tuple[str, ...] | None:
    """Dotted names of the fields that differ; None if the facts are equal."""
    old, new = tree_of(before), tree_of(after)
    return None if old == new else tuple(change.field for change in _changes(old, new))


def _changes(old_tree: Tree, new_tree: Tree) -> list[Change]:
    old, new = dict(leaves(old_tree)), dict(leaves(new_tree))
    return [
        Change(name, text_of(old.get(name)), text_of(new.get(name)))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _corrections(old: Tree, merged: Tree) -> list[Change]:
    """Known values that were replaced. A status that leaves `provisional` is progress, not a correction."""
    return [
        change
        for change in _changes(old, merged)
        if change.old not in (None, change.new)
        and change != ("status", "provisional", change.new)
        and _is_own(change.field)
    ]


def _regressions(merged: Tree, said: Tree) -> list[Change]:
    """Values of `merged` that the new version lacks, and a status that the new version would lower."""
    mentioned = dict(leaves(said))
    lost = [
        Change(name, text_of(value), None) for name, value in leaves(merged) if name not in mentioned and _is_own(name)
    ]
    if "status" in said and said["status"] != merged["status"]:
        lost.append(Change("status", merged["status"], said["status"]))
    return lost


def _notes(version: Version, found: list[Change]) -> list[Note]:
    return [Note(version.record_id, version.known_at, change) for change in found]


def _is_own(field: str) -> bool:
    return field.rsplit(".", 1)[-1] not in _DERIVED


def _merge(old: Tree, new: Tree) -> Tree:
    merged = _fill(old, new)
    for name in ("entries", "outcomes"):
        if name in old and name in new:
            merged[name] = old[name] | {slot: _slot(old[name].get(slot), item) for slot, item in new[name].items()}
    if "status" in old:  # a settled fact, which has all of the following fields
        merged["status"] = max(
            old["status"], new["status"], key=lambda status: (_RANK[status], status == new["status"])
        )
        merged["transactions"] = old["transactions"] | {
            market: _market(old["transactions"].get(market), rows) for market, rows in new["transactions"].items()
        }
        merged["missing_markets"] = _still_missing(old, new, merged)
    return merged


def _fill(old: Tree, new: Tree) -> Tree:
    """Merge recursively; a value in `new` takes precedence."""
    merged = dict(old)
    for name, value in new.items():
        before = old.get(name)
        merged[name] = _fill(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
    return merged


def _slot(before: Tree | None, item: Tree) -> Tree:
    """Merge one slot. If another entity is in the slot now, the values of the previous entity are dropped."""
    if before is None or _is_substitute(before, item):
        return item
    return _fill(before, item)


def _is_substitute(before: Tree, item: Tree) -> bool:
    return None not in (_who(before), _who(item)) and _who(before) != _who(item)


def _who(item: Tree) -> str | None:
    who: str | None = item.get("entity_key") or item.get("entity", {}).get("entity_key")
    return who


def _still_missing(old: Tree, new: Tree, merged: Tree) -> tuple[str, ...]:
    """The missing payout rows, less those kept from the older version. Only a settled fact lists missing markets."""
    told = new if new["status"] == "settled" else old
    left: Counter[str] = Counter(told["missing_markets"])
    for market, rows in merged["transactions"].items():
        if market in left:
            left[market] = max(0, left[market] + len(told["transactions"].get(market, ())) - len(rows))
    return tuple(left.elements())


def _market(before: Tree | None, rows: Tree) -> Tree:
    """Merge one market. Rows that are only missing are kept; a list with other rows replaces the old one."""
    if before is None or not rows.keys() < before.keys():
        return rows
    return before | {selection: (amount, before[selection][1]) for selection, (amount, _) in rows.items()}
