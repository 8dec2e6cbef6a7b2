"""Converts a fact to a tree of named values, and back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from shared.events import Listed, Observed, Settled

FactEvent = Listed | Observed | Settled
Tree = dict[str, Any]

# Fields about the message itself, not about the event.
_ENVELOPE = {"schema_version", "source", "event_key", "known_at", "known_after_s", "document_hash", "kind"}


def tree_of(fact: FactEvent) -> Tree:
    """The fact's values by name, without the unknown ones. Lists become mappings by slot, market and selection."""
    tree = fact.model_dump(exclude_none=True, exclude=_ENVELOPE)
    for name in ("entries", "outcomes"):
        if name in tree:
            tree[name] = {str(item.pop("slot")): _pack_result(_without_unknown(item)) for item in tree[name]}
    if "transactions" in tree:
        markets: Tree = {}
        for row in tree["transactions"]:
            markets.setdefault(row["market"], {})[row["selection"]] = (row["amount"], row["ordinal"])
        tree["transactions"] = markets
    return tree


def fact_of(envelope: FactEvent, tree: Tree) -> FactEvent:
    """The inverse of `tree_of`; the fields about the message are those of `envelope`."""
    fields = {name: getattr(envelope, name) for name in _ENVELOPE} | tree
    for name in ("entries", "outcomes"):
        if name in tree:
            fields[name] = [{"slot": int(slot), **_unpack_result(item)} for slot, item in sorted(tree[name].items())]
    if "transactions" in tree:
        fields["transactions"] = [
            {"market": market, "selection": selection, "amount": amount, "ordinal": ordinal}
            for market, rows in tree["transactions"].items()
            for selection, (amount, ordinal) in rows.items()
        ]
    return type(envelope).model_validate(fields)


def _without_unknown(item: Tree) -> Tree:
    """Remove None values from mappings, where pydantic's `exclude_none` keeps them."""
    return {
        name: _without_unknown(value) if isinstance(value, dict) else value
        for name, value in item.items()
        if value is not None
    }


def _pack_result(item: Tree) -> Tree:
    """Pack place, code and refund into one value: place and code are exclusive, and the code implies the refund."""
    result = {name: item.pop(name) for name in ("place", "code", "refunded") if name in item}
    if not result.get("refunded"):
        result.pop("refunded", None)
    return item | ({"result": tuple(result.items())} if result else {})


def _unpack_result(item: Tree) -> Tree:
    """The inverse of `_pack_result`."""
    return {name: value for name, value in item.items() if name != "result"} | dict(item.get("result", ()))


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and values of all leaves, without empty lists."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        elif value not in ((), []):
            yield f"{prefix}{name}", value


def text_of(value: Any) -> str | None:
    """A leaf as the text stored in facts.corrections and facts.regressions; None stays None."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):  # (("place", 3),) or (amount, ordinal)
        return str(value[0][1]) if isinstance(value[0], tuple) else str(value[0])
    return str(value)
