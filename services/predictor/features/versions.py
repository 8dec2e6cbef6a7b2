"""Append-only store of values by key, readable as of any instant; it can be truncated from the end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Floats, Ints

INITIAL_ROW = 0
"""The row of a key without any values yet: it holds the initial values."""
NO_ROW = -1
"""Stands for a new row where the key was None."""


class NewRows(NamedTuple):
    """New rows. (n, K) each: one line per event, one column per key.

    `before`: the key's previous row; `row`: the new one; `root`: the key's last row before the call; `depth`: number of
    new rows between `root` and `row`.
    """

    before: Ints
    row: Ints
    root: Ints
    depth: Ints

    def rounds(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Yields (rows, previous rows, positions in the flattened arrays). A round needs values of earlier rounds only:
        updates that are sequential for a key run for all keys at once."""
        present = np.flatnonzero(self.row.ravel() != NO_ROW)
        depth = self.depth.ravel()[present]
        at = present[np.argsort(depth, kind="stable")]
        rows, before = self.row.ravel()[at], self.before.ravel()[at]
        first = 0
        for last in np.cumsum(np.bincount(depth)).tolist():
            yield rows[first:last], before[first:last], at[first:last]
            first = last


class VersionedStore:
    """Rows must be added in the order in which they became known. The key None has no rows."""

    def __init__(self, initial: Floats) -> None:
        self.values = np.empty((1024, len(initial)))
        self.values[INITIAL_ROW] = initial
        self._owners: list[Hashable] = [None]
        self._series: dict[Hashable, tuple[list[float], list[int]]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def extend(self, known_us: Sequence[float], keys: Sequence[Sequence[Hashable]]) -> NewRows:
        """Adds a row for each key of each line, known from the line's instant on. The caller fills in the values.

        If a key occurs twice in a line, both rows follow its row before the line, and the second becomes the newest.
        """
        before, new, root, depth = [], [], [], []
        owners, all_series, base = self._owners, self._series, len(self._owners)
        row_root: list[int] = []
        row_depth: list[int] = []
        for when, line in zip(known_us, keys, strict=True):
            newest = [series[1][-1] if (series := all_series.get(key)) else INITIAL_ROW for key in line]
            before.extend(newest)
            for key, old in zip(line, newest, strict=True):
                at = old - base
                root.append(old if at < 0 else row_root[at])
                depth.append(0 if at < 0 else row_depth[at] + 1)
                if key is None:
                    new.append(NO_ROW)
                    continue
                new.append(len(owners))
                row_root.append(root[-1])
                row_depth.append(depth[-1])
                if (series := all_series.get(key)) is None:
                    series = all_series[key] = ([], [])
                series[0].append(when)
                series[1].append(len(owners))
                owners.append(key)
        self._grow()
        shape = (len(keys), len(keys[0]) if keys else 0)
        return NewRows(*(np.array(each, dtype=np.int64).reshape(shape) for each in (before, new, root, depth)))

    def as_of(self, keys: Sequence[Hashable], as_of_us: Sequence[float]) -> Ints:
        """(keys,): each key's newest row known at its instant."""
        all_series = self._series
        return np.array(
            [
                series[1][at - 1]
                if (series := all_series.get(key)) is not None and (at := bisect_right(series[0], when))
                else INITIAL_ROW
                for key, when in zip(keys, as_of_us, strict=True)
            ],
            dtype=np.int64,
        )

    def last(self, keys: Sequence[Hashable], as_of_us: Sequence[float], count: int) -> Ints:
        """(keys, count): each key's newest rows known at its instant, newest last; INITIAL_ROW fills the front."""
        rows = np.full((len(keys), count), INITIAL_ROW, dtype=np.int64)
        for at, (key, when) in enumerate(zip(keys, as_of_us, strict=True)):
            if (line := self._series.get(key)) is not None and (end := bisect_right(line[0], when)):
                newest = line[1][max(0, end - count) : end]
                rows[at, count - len(newest) :] = newest
        return rows

    def rewind(self, length: int) -> None:
        """Restores the state with this many rows."""
        for key in reversed(self._owners[length:]):
            known, rows = self._series[key]
            known.pop()
            rows.pop()
            if not rows:
                del self._series[key]
        del self._owners[length:]

    def _grow(self) -> None:
        """Doubles the array, so that adding rows one by one costs no more than adding them at once."""
        while len(self.values) < len(self._owners):
            self.values = np.concatenate([self.values, np.empty_like(self.values)])
