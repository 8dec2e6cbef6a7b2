"""Folds all versions of a fact into its current state.

Each version is a tree of named values. The versions, sorted by `known_at`, then by `revision`, then by arrival, are
merged into one tree:
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
_STATUS_RANK = {"provisional": 0, "cancelled": 1, "void": 2, "settled": 2}


class FactVersion(NamedTuple):
    """One version of a fact. Of one record there is one version: that of its newest revision."""

    known_at: datetime
    revision: str
    record_id: UUID
    fact: FactEvent

    @property
    def order(self) -> tuple[datetime, str]:
        """The place among the versions of an event's fact; equal ones keep the order of their arrival. An archived
        document that the source corrects has the `known_at` of the first one: the later one must count."""
        return self.known_at, self.revision


class FieldChange(NamedTuple):
    """A field with two different values; `old` is None if it was unknown, `new` is None if it was removed."""

    field: str
    old: str | None
    new: str | None


class VersionChange(NamedTuple):
    """A correction or regression, with the record and the time of the version that made it."""

    record_id: UUID
    known_at: datetime
    change: FieldChange


class FoldedFact(NamedTuple):
    """The current state of a fact, and the corrections and regressions found while folding."""

    fact: FactEvent
    changed_at: datetime  # `known_at` of the last version that changed a value
    corrections: frozenset[VersionChange] = frozenset()
    regressions: frozenset[VersionChange] = frozenset()


def fold(versions: Iterable[FactVersion]) -> FoldedFact:
    """Fold one or more versions of different records, in order of arrival.

    The fields about the message itself (source, hash ...) are those of the latest version.
    """
    first, *later = sorted(versions, key=lambda version: version.order)
    if not later:  # the usual case
        return FoldedFact(first.fact, first.known_at)
    tree, changed_at = tree_of(first.fact), first.known_at
    corrections: list[VersionChange] = []
    regressions: list[VersionChange] = []
    for version in later:
        stated_tree = tree_of(version.fact)
        merged = _merge(tree, stated_tree)
        if merged != tree:
            changed_at = version.known_at
        corrections += _version_changes(version, _corrections(tree, merged))
        regressions += _version_changes(version, _regressions(merged, stated_tree))
        tree = merged
    return FoldedFact(fact_of(later[-1].fact, tree), changed_at, frozenset(corrections), frozenset(regressions))


def supersede(versions: Iterable[FactVersion], new: FactVersion) -> list[FactVersion]:
    """Append `new`, replacing an earlier version of the same record (from before a replay under changed rules)."""
    return [version for version in versions if version.record_id != new.record_id] + [new]


def changed_fields(before: FactEvent, after: FactEvent) -> tuple[str, ...] | None:
    """Dotted names of the fields that differ; None if the facts are equal."""
    old, new = tree_of(before), tree_of(after)
    return None if old == new else tuple(change.field for change in tree_changes(old, new))


def tree_changes(old_tree: Tree, new_tree: Tree) -> list[FieldChange]:
    """The leaves that differ, by name."""
    old, new = dict(leaves(old_tree)), dict(leaves(new_tree))
    return [
        FieldChange(name, text_of(old.get(name)), text_of(new.get(name)))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _corrections(old: Tree, merged: Tree) -> list[FieldChange]:
    """Known values that were replaced. A status that leaves `provisional` is progress, not a correction."""
    return [
        change
        for change in tree_changes(old, merged)
        if change.old not in (None, change.new)
        and change != ("status", "provisional", change.new)
        and _is_not_derived(change.field)
    ]


def _regressions(merged: Tree, stated_tree: Tree) -> list[FieldChange]:
    """Values of `merged` that the new version lacks, and a status that the new version would lower."""
    stated_leaves = dict(leaves(stated_tree))
    losses = [
        FieldChange(name, text_of(value), None)
        for name, value in leaves(merged)
        if name not in stated_leaves and _is_not_derived(name)
    ]
    if "status" in stated_tree and stated_tree["status"] != merged["status"]:
        losses.append(FieldChange("status", merged["status"], stated_tree["status"]))
    return losses


def _version_changes(version: FactVersion, changes: list[FieldChange]) -> list[VersionChange]:
    return [VersionChange(version.record_id, version.known_at, change) for change in changes]


def _is_not_derived(field: str) -> bool:
    return field.rsplit(".", 1)[-1] not in _DERIVED


def _merge(old: Tree, new: Tree) -> Tree:
    merged = _overlay(old, new)
    for name in ("entries", "outcomes"):
        if name in old and name in new:
            merged[name] = old[name] | {
                slot: _merge_slot(old[name].get(slot), item) for slot, item in new[name].items()
            }
    if "status" in old:  # a settled fact, which has all of the following fields
        merged["status"] = max(
            old["status"], new["status"], key=lambda status: (_STATUS_RANK[status], status == new["status"])
        )
        merged["transactions"] = old["transactions"] | {
            market: _merge_market(old["transactions"].get(market), rows) for market, rows in new["transactions"].items()
        }
        merged["missing_markets"] = _missing_markets(old, new, merged)
    return merged


def _overlay(old: Tree, new: Tree) -> Tree:
    """Merge recursively; a value in `new` takes precedence."""
    merged = dict(old)
    for name, value in new.items():
        before = old.get(name)
        merged[name] = _overlay(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
    return merged


def _merge_slot(before: Tree | None, item: Tree) -> Tree:
    """Merge one slot. If another entity is in the slot now, the values of the previous entity are dropped."""
    if before is None or _is_substitute(before, item):
        return item
    return _overlay(before, item)


def _is_substitute(before: Tree, item: Tree) -> bool:
    return None not in (_entity_key(before), _entity_key(item)) and _entity_key(before) != _entity_key(item)


def _entity_key(item: Tree) -> str | None:
    entity_key: str | None = item.get("entity_key") or item.get("entity", {}).get("entity_key")
    return entity_key


def _missing_markets(old: Tree, new: Tree, merged: Tree) -> tuple[str, ...]:
    """The missing payout rows, less those kept from the older version. Only a settled fact lists missing markets."""
    basis = new if new["status"] == "settled" else old
    missing_rows: Counter[str] = Counter(basis["missing_markets"])
    for market, rows in merged["transactions"].items():
        if market in missing_rows:
            missing_rows[market] = max(0, missing_rows[market] + len(basis["transactions"].get(market, ())) - len(rows))
    return tuple(missing_rows.elements())


def _merge_market(before: Tree | None, rows: Tree) -> Tree:
    """Merge one market. Rows that are only missing are kept; a list with other rows replaces the old one."""
    if before is None or not rows.keys() < before.keys():
        return rows
    return before | {selection: (amount, before[selection][1]) for selection, (amount, _) in rows.items()}
