"""Compares two sets of rows by groups, without keeping the rows in memory."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import orjson

_MODULUS = 1 << 128
Group = TypeVar("Group", bound=Hashable)


class RowDigests(Generic[Group]):
    """For each group the difference of two sums of row hashes, which is zero if both sets have the same rows.

    Equal rows may have different hashes if a number is written in two ways: a group that differs must be compared row
    by row.
    """

    def __init__(self) -> None:
        self._sums: defaultdict[Group, int] = defaultdict(int)

    def add_expected(self, group: Group, row: tuple[Any, ...]) -> None:
        self._sums[group] = (self._sums[group] + _hash_of(row)) % _MODULUS

    def add_actual(self, group: Group, row: tuple[Any, ...]) -> None:
        self._sums[group] = (self._sums[group] - _hash_of(row)) % _MODULUS

    def differing(self) -> list[Group]:
        return [group for group, total in self._sums.items() if total]


def _hash_of(row: tuple[Any, ...]) -> int:
    values = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in row]
    encoded = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=16).digest())
