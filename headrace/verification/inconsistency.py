"""What `headrace db verify` reports: a row that differs from what the other rows say it must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

ABSENT = "absent"
PRESENT = "present"
RELOAD = "restore a backup (headrace restore), or load a new database from the archive or the topics (docs/database.md)"
RESTORE = "restore a backup (headrace restore): the stored facts themselves are damaged"
REBUILD = "headrace db rebuild: computes the rows again from the stored versions"
EXPORT = "write the day's files again: headrace export --from DAY --to DAY"

Key = tuple[Any, ...]
Values = tuple[Any, ...]


class Inconsistency(NamedTuple):
    """`key`: the row by its natural key; `actual`: what is stored; `remedy`: what to do."""

    table: str
    key: str
    expected: str
    actual: str
    remedy: str


def compare_rows(
    table: str, columns: tuple[str, ...], expected: Mapping[Key, Values], actual: Mapping[Key, Values], remedy: str
) -> Iterator[Inconsistency]:
    """The rows that are missing, extra or different. `columns`: the names of the values."""
    for key in sorted(expected.keys() | actual.keys(), key=str):
        name = key_text(key)
        if key not in actual:
            yield Inconsistency(table, name, described(columns, expected[key]), ABSENT, remedy)
        elif key not in expected:
            yield Inconsistency(table, name, ABSENT, described(columns, actual[key]), remedy)
        elif expected[key] != actual[key]:
            pairs = zip(columns, expected[key], actual[key], strict=True)
            names, values, stored = zip(*(each for each in pairs if each[1] != each[2]), strict=True)
            yield Inconsistency(table, name, described(names, values), described(names, stored), remedy)


def key_text(key: Key) -> str:
    return " ".join(str(part) for part in key)


def described(columns: tuple[str, ...], values: Values) -> str:
    """Names and values in one line: place=1, code=None."""
    return ", ".join(f"{name}={value}" for name, value in zip(columns, values, strict=True)) or PRESENT
