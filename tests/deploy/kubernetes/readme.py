"""Turns the comments of the chart's values.yaml into the table of its README.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

_MARK = "# -- "


class ValueRow(NamedTuple):
    key: str
    default: Any
    meaning: str


def table_of(text: str) -> str:
    rows = [f"| `{row.key}` | `{json.dumps(row.default)}` | {row.meaning} |" for row in value_rows(text)]
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows])


def value_rows(text: str) -> Iterator[ValueRow]:
    """Each key below a line `# -- meaning`, with its value."""
    values = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    meaning = ""
    for line in text.splitlines():
        content = line.strip()
        if content.startswith(_MARK):
            meaning = content.removeprefix(_MARK)
        if not content or content.startswith(("#", "-")):
            continue
        indent = len(line) - len(line.lstrip())
        path = [*(each for each in path if each[0] < indent), (indent, content.split(":")[0])]
        if meaning:
            keys = [key for _, key in path]
            yield ValueRow(".".join(keys), _value_at(values, keys), meaning)
            meaning = ""


def undescribed_keys(text: str) -> list[str]:
    """Keys with a plain value that neither they nor a key above them describes."""
    described = {row.key for row in value_rows(text)}
    return [
        key
        for key in _leaves(yaml.safe_load(text), "")
        if not any(f"{key}.".startswith(f"{each}.") for each in described)
    ]


def _value_at(values: Any, keys: list[str]) -> Any:
    for key in keys:
        values = values[key]
    return values


def _leaves(values: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
