"""From the versions of a fact to what holds now: never erased by absence, corrected by difference. Pure.

A fact becomes a tree of named values; versions in the order of their knowledge are folded into one tree:
* a value that was unknown is filled in;
* a value that differs replaces the older one: a correction;
* a value that is missing leaves the older one standing: a regression.
So the outcome depends on the versions and not on the order in which they arrived.
Source: docs/adr/0004-facts-are-folds.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import reduce
from typing import Any, NamedTuple
from uuid import UUID

from shared.events import Listed, Observed, Settled

FactEvent = Listed | Observed | Settled
Tree = dict[str, Any]

# What a fact says of itself, not of the event.
_ENVELOPE = {"schema_version", "source", "event_key", "known_at", "known_after_s", "document_hash", "kind"}
# Derived from other values, so neither a loss nor a correction of their own.
_DERIVED = {"missing_markets", "refunded", "card_key"}
_RANK = {"provisional": 0, "cancelled": 1, "void": 2, "settled": 2}


class Version(NamedTuple):
    """One version of a fact; ordered by what was known when."""

    known_at: datetime
    revision: str
    record_id: UUID
    fact: FactEvent


class Change(NamedTuple):
    """A field that differs: `old` is None for one that was unknown."""

    field: str
    old: str | None
    new: str | None


def fold(versions: Iterable[Version]) -> FactEvent:
    """What holds after all of them; the latest version's envelope. At least one version."""
    ordered = sorted(versions, key=lambda version: version[:2])
    latest = ordered[-1].fact
    tree = reduce(_merge, (tree_of(version.fact) for version in ordered))
    return fact_of(latest, tree)


def supersede(versions: Iterable[Version], new: Version) -> list[Version]:
    """The versions with `new` in place of an earlier attempt at the same record (a replay under changed rules)."""
    return [version for version in versions if version.record_id != new.record_id] + [new]


def tree_of(fact: FactEvent) -> Tree:
    """The fact's own values by name; lists become mappings by slot, market and selection; unknown ones are left out."""
    said = fact.model_dump(exclude_none=True, exclude=_ENVELOPE)
    for name in ("entries", "outcomes"):
        if name in said:
            said[name] = {str(item.pop("slot")): _result_as_one(item) for item in said[name]}
    if "transactions" in said:
        markets: Tree = {}
        for row in said["transactions"]:
            markets.setdefault(row["market"], {})[row["selection"]] = (row["amount"], row["ordinal"])
        said["transactions"] = markets
    return said


def fact_of(like: FactEvent, tree: Tree) -> FactEvent:
    """The tree as a fact again, in the envelope of `like`."""
    said = {name: getattr(like, name) for name in _ENVELOPE} | tree
    for name in ("entries", "outcomes"):
        if name in tree:
            said[name] = [{"slot": int(slot), **_result_as_two(item)} for slot, item in sorted(tree[name].items())]
    if "transactions" in tree:
        said["transactions"] = [
            {"market": market, "selection": selection, "amount": amount, "ordinal": ordinal}
            for market, rows in tree["transactions"].items()
            for selection, (amount, ordinal) in rows.items()
        ]
    return type(like).model_validate(said)


def changes(before: FactEvent, after: FactEvent) -> list[Change]:
    """Every field that differs, in the order of its name; derived ones and mere progress of the status are left out."""
    old, new = dict(_leaves(tree_of(before))), dict(_leaves(tree_of(after)))
    return [
        Change(name, _text(old.get(name)), _text(new.get(name)))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and name.rsplit(".", 1)[-1] not in _DERIVED
    ]


def corrections(found: Iterable[Change]) -> list[Change]:
    return [change for change in found if change.old is not None and change != ("status", "provisional", change.new)]


def regressions(current: FactEvent, new: FactEvent) -> list[Change]:
    """What holds and the new fact no longer says."""
    said = dict(_leaves(tree_of(new)))
    lost = [
        Change(name, _text(value), None)
        for name, value in _leaves(tree_of(current))
        if name not in said and name.rsplit(".", 1)[-1] not in _DERIVED
    ]
    if isinstance(current, Settled) and isinstance(new, Settled) and _RANK[new.status] < _RANK[current.status]:
        lost.append(Change("status", current.status, new.status))
    return lost


def _merge(old: Tree, new: Tree) -> Tree:
    merged = dict(old)
    for name, value in new.items():
        before = old.get(name)
        if name == "transactions" and before:
            merged[name] = before | {
                market: _market(before.get(market), rows) for market, rows in value.items() if rows
            }
        elif name == "status" and before:
            merged[name] = value if _RANK[value] >= _RANK[before] else before
        elif isinstance(value, dict) and isinstance(before, dict):
            merged[name] = _merge(before, value)
        else:
            merged[name] = value
    return merged


def _market(before: Tree | None, rows: Tree) -> Tree:
    """A market is one list: rows that only went away are kept, a list with other rows replaces the old one."""
    if before is None or not rows.keys() < before.keys():
        return rows
    return before | rows


def _result_as_one(item: Tree) -> Tree:
    """Place and code exclude each other: as one value, one can replace the other."""
    result = {name: item.pop(name) for name in ("place", "code") if name in item}
    if item.get("refunded") is False:
        del item["refunded"]
    return item | ({"result": tuple(result.items())} if result else {})


def _result_as_two(item: Tree) -> Tree:
    result = dict(item.get("result", ()))
    rest = {name: value for name, value in item.items() if name not in {"result", "refunded"}}
    return rest | result | ({"refunded": True} if item.get("refunded") and "place" not in result else {})


def _leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        elif value not in ((), []):
            yield f"{prefix}{name}", value


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):  # (("place", 3),) or (amount, ordinal)
        return str(value[0][1]) if isinstance(value[0], tuple) else str(value[0])
    return str(value)
