"""Says what is wrong with a value of a rule file, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from services.notifier.rules.yaml_tree import Path

# What to write for a key whose value is not valid.
EXAMPLES: Mapping[str, str] = MappingProxyType({
    "burst": "write a number of messages from 1 to 100",
    "channel": 'write the id in quotes, such as "111111111111111111"',
    "user": 'write the id in quotes, such as "111111111111111111"',
    "channels": "write NAME: {kind: KIND, ...} below it",
    "digest_every": "write a duration such as 15m",
    "entities": "write a list of keys such as [boatrace:4444]",
    "every": "write a duration such as 10s",
    "expires": "write a duration such as 30m",
    "for": "write a duration such as 60s",
    "from": 'write a time of day in quotes, such as "22:00"',
    "grades": "write a list of numbers such as [1, 2]",
    "name": "write a name of the notifier's settings such as night-shift",
    "markets": "write a list of markets such as [trifecta]",
    "pace": "write {burst: 5, every: 10s}",
    "quiet_hours": 'write {from: "22:00", to: "07:00", then: wait}',
    "rules": "write NAME: {finding: KIND, ...} below it",
    "sources": "write a list of sources such as [boatrace]",
    "states": "write [card], [observation] or both",
    "template": "write a text, in several lines after a |",
    "then": "write wait or drop",
    "threshold": "write a number such as 0.75",
    "time_zone": "write the name of a time zone such as Asia/Tokyo",
    "to": "write a list of names of channels such as [console]",
    "channels.to": "write a list of e-mail addresses such as [person@example.org]",
    "venues": "write a list of numbers such as [7, 12]",
})  # fmt: skip


def problem_text(details: ErrorDetails, path: Path, model: type[BaseModel]) -> str:
    """What is wrong with a value at this path of the file, and what to do. `model`: the one that was validated."""
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    hint = EXAMPLES.get(f"{path[0]}.{key}", EXAMPLES.get(key, "correct it"))
    context: Mapping[str, Any] = details.get("ctx", {})
    reason = details["msg"].replace("Input should be", "expected")
    match details["type"]:
        case "extra_forbidden":
            known = [field.alias or name for name, field in _model_at(model, details["loc"]).model_fields.items()]
            return f"unknown key; {did_you_mean(key, known) or f'remove it, or use one of {listed(known)}'}"
        case "missing":
            return f"is missing; {hint}"
        case "value_error":  # of model.py: it says what was received
            reason = str(context["error"])
            return reason if ": " in reason or "; " in reason else f"{reason}; {hint}"
        case "literal_error":
            choices = re.findall(r"'([^']*)'", context["expected"])
            reason, hint = (
                f"expected {', '.join(choices)}",
                did_you_mean(details["input"], choices) or "use one of them",
            )
        case "string_pattern_mismatch":
            reason = "expected another text"
        case "too_short" | "too_long":
            reason = f"expected {context.get('min_length', 1)} to {context.get('max_length', 'any number of')} items"
        case "tuple_type":
            reason = "expected a list"
    got = "" if isinstance(details["input"], Mapping | tuple) else f", got {details['input']!r:.60}"
    return f"{reason}{got}; {hint}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A question about a name that is similar; empty if none is."""
    similar = get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
    return f"did you mean {similar[0]}?" if similar else ""


def listed(names: Sequence[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    """The model that has the last part of a location."""
    for part in location[:-1]:
        fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
        inner = [each for each in _classes_of(fields.get(str(part))) if issubclass(each, BaseModel)]
        if inner:
            model = inner[0]
    return model


def _classes_of(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes_of(argument)
