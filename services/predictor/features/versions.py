"""Values of many keys over time, readable as of any instant: append-only, and rewound from the end. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence

import numpy as np

from services.predictor.facts import Floats, Ints

NOTHING = 0
"""The row of a key of which nothing is known yet: it holds the initial values."""


class Versions:
    """Rows must be appended in the order in which they became known. A key of None is nobody and has no rows."""

    def __init__(self, initial: Floats) -> None:
        self.values = np.empty((1024, len(initial)))
        self.values[NOTHING] = initial
        self._owners: list[Hashable] = [None]
        self._known: dict[Hashable, list[float]] = {}
        self._rows: dict[Hashable, list[int]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def latest(self, keys: Sequence[Hashable]) -> list[int]:
        """The newest row of each key."""
        return [rows[-1] if (rows := self._rows.get(key)) else NOTHING for key in keys]

    def append(self, known_us: float, keys: Sequence[Hashable], values: Floats) -> None:
        """One row a key, known from then on; values (keys, width)."""
        for key, value in zip(keys, values, strict=True):
            if key is not None:
                row = len(self._owners)
                if row == len(self.values):
                    self.values = np.concatenate([self.values, np.empty_like(self.values)])
                self.values[row] = value
                self._owners.append(key)
                self._known.setdefault(key, []).append(known_us)
                self._rows.setdefault(key, []).append(row)

    def as_of(self, keys: Sequence[Hashable], as_of_us: Sequence[float]) -> Ints:
        """(keys,) rows: each key's newest one that was known then."""
        known, rows = self._known, self._rows
        return np.array(
            [
                rows[key][at - 1] if key in known and (at := bisect_right(known[key], when)) else NOTHING
                for key, when in zip(keys, as_of_us, strict=True)
            ],
            dtype=np.int64,
        )

    def last(self, keys: Sequence[Hashable], as_of_us: Sequence[float], count: int) -> Ints:
        """(keys, count) rows: each key's newest ones known then, the newest last, NOTHING in front of the first."""
        found = np.zeros((len(keys), count), dtype=np.int64)
        for line, key, when in zip(found, keys, as_of_us, strict=True):
            if key in self._known and (end := bisect_right(self._known[key], when)):
                some = self._rows[key][max(0, end - count) : end]
                line[count - len(some) :] = some
        return found

    def rewind(self, length: int) -> None:
        """As it was when it had this many rows."""
        for key in reversed(self._owners[length:]):
            self._known[key].pop()
            if not self._rows[key][:-1]:
                del self._known[key], self._rows[key]
            else:
                self._rows[key].pop()
        del self._owners[length:]
