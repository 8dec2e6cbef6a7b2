"""Values of many keys over time, readable as of any instant: append-only, and rewound from the end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Floats, Ints

NOTHING = 0
"""The row of a key of which nothing is known yet: it holds the initial values."""
NOBODY = -1
"""In the place of a new row: the key was None."""


class Allotted(NamedTuple):
    """Rows for new values. (n, K) each, a line an event, a column a key.

    `before`: the key's newest row until then; `row`: the new one; `root`: the row that the key had before all of them;
    `depth`: how many of the others stand between the root and it.
    """

    before: Ints
    row: Ints
    root: Ints
    depth: Ints

    def rounds(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """(rows, rows before, positions in the flattened tables): a round needs the values of earlier rounds only, so
        that what must be done one after the other for a key is done for all keys at once."""
        there = np.flatnonzero(self.row.ravel() != NOBODY)
        depth = self.depth.ravel()[there]
        at = there[np.argsort(depth, kind="stable")]
        rows, before = self.row.ravel()[at], self.before.ravel()[at]
        first = 0
        for last in np.cumsum(np.bincount(depth)).tolist():
            yield rows[first:last], before[first:last], at[first:last]
            first = last


class Versions:
    """Rows must be added in the order in which they became known. A key of None is nobody and has no rows."""

    def __init__(self, initial: Floats) -> None:
        self.values = np.empty((1024, len(initial)))
        self.values[NOTHING] = initial
        self._owners: list[Hashable] = [None]
        self._lines: dict[Hashable, tuple[list[float], list[int]]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def extend(self, known_us: Sequence[float], keys: Sequence[Sequence[Hashable]]) -> Allotted:
        """A row for each key of each line, known from the line's instant on; the caller fills in the values.

        The same key twice in a line: both follow the row that it had before the line, and the second one stays.
        """
        before, new, root, depth = [], [], [], []
        owners, lines, base = self._owners, self._lines, len(self._owners)
        row_root: list[int] = []
        row_depth: list[int] = []
        for when, line in zip(known_us, keys, strict=True):
            newest = [found[1][-1] if (found := lines.get(key)) else NOTHING for key in line]
            before.extend(newest)
            for key, old in zip(line, newest, strict=True):
                at = old - base
                root.append(old if at < 0 else row_root[at])
                depth.append(0 if at < 0 else row_depth[at] + 1)
                if key is None:
                    new.append(NOBODY)
                    continue
                new.append(len(owners))
                row_root.append(root[-1])
                row_depth.append(depth[-1])
                if (found := lines.get(key)) is None:
                    found = lines[key] = ([], [])
                found[0].append(when)
                found[1].append(len(owners))
                owners.append(key)
        self._make_room()
        shape = (len(keys), len(keys[0]) if keys else 0)
        return Allotted(*(np.array(each, dtype=np.int64).reshape(shape) for each in (before, new, root, depth)))

    def as_of(self, keys: Sequence[Hashable], as_of_us: Sequence[float]) -> Ints:
        """(keys,) rows: each key's newest one that was known then."""
        lines = self._lines
        return np.array(
            [
                found[1][at - 1]
                if (found := lines.get(key)) is not None and (at := bisect_right(found[0], when))
                else NOTHING
                for key, when in zip(keys, as_of_us, strict=True)
            ],
            dtype=np.int64,
        )

    def last(self, keys: Sequence[Hashable], as_of_us: Sequence[float], count: int) -> Ints:
        """(keys, count) rows: each key's newest ones known then, the newest last, NOTHING in front of the first."""
        found = np.full((len(keys), count), NOTHING, dtype=np.int64)
        for at, (key, when) in enumerate(zip(keys, as_of_us, strict=True)):
            if (line := self._lines.get(key)) is not None and (end := bisect_right(line[0], when)):
                some = line[1][max(0, end - count) : end]
                found[at, count - len(some) :] = some
        return found

    def rewind(self, length: int) -> None:
        """As it was when it had this many rows."""
        for key in reversed(self._owners[length:]):
            known, rows = self._lines[key]
            known.pop()
            rows.pop()
            if not rows:
                del self._lines[key]
        del self._owners[length:]

    def _make_room(self) -> None:
        """Doubling: adding row after row costs no more than adding them at once."""
        while len(self.values) < len(self._owners):
            self.values = np.concatenate([self.values, np.empty_like(self.values)])
