"""A sum of decision trees as plain arrays, evaluated for many rows at once.

Evaluation compares every node of every tree instead of walking: a false node rules out the leaves on its left, and the
leftmost remaining leaf is the row's (Lucchese et al., QuickScorer, SIGIR 2015). The leaves of a tree are the bits of an
integer (16 bits for up to 16 leaves), so numpy handles many rows and trees in few calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from services.predictor.data.events import Bools, Floats, Floats32
from shared.errors import ConfigError

Nodes = npt.NDArray[np.int32]
# Rows evaluated together: their data fits into the cache of one core.
CHUNK_ROWS = 96
# Most leaves of a tree -> unsigned integer with a bit for each leaf.
WIDTHS = {16: np.uint16, 32: np.uint32, 64: np.uint64}
ARRAYS: Mapping[str, type[np.generic]] = {
    "feature": np.int32,
    "threshold": np.float32,
    "unknown_left": np.bool_,
    "left": np.int32,
    "right": np.int32,
    "value": np.float64,
}


@dataclass(frozen=True)
class Trees:
    """T trees of at most N nodes and N + 1 leaves; a row goes left if its feature <= threshold.

    `feature` (T, N), `threshold` (T, N), `unknown_left` (T, N): whether NaN goes left; `left`, `right` (T, N): index of
    a node, or -1 - index of a leaf; `value` (T, N + 1): values of the leaves. Unused nodes have feature -1; a tree
    with a single leaf uses no node. Raises ConfigError if the arrays are not valid trees.
    """

    feature: Nodes
    threshold: Floats32
    unknown_left: Bools
    left: Nodes
    right: Nodes
    value: Floats
    _tables: _Tables = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "_tables", _tables(self))

    def __len__(self) -> int:
        return len(self.feature)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: getattr(self, name) for name in ARRAYS}

    def sums(self, rows: Floats32) -> Floats:
        """(m, F) -> (m,). A row's leaves are added in the order of the trees, whatever m is.

        Raises ValueError if the rows have fewer features than the trees read.
        """
        if rows.shape[1] <= self.feature.max(initial=-1):
            raise ValueError(f"the trees read feature {self.feature.max()}, but the rows have {rows.shape[1]} features")
        totals = np.zeros(len(rows))
        for start in range(0, len(rows) if len(self) else 0, CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            totals[part] = self._tables.sums(np.ascontiguousarray(rows[part].T))
        return totals


def trees_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Trees:
    """Restores from `Trees.arrays`. Raises ConfigError if an array is missing or does not fit."""
    missing = sorted(set(ARRAYS) - set(arrays))
    if missing:
        raise ConfigError(f"trees need the arrays {', '.join(ARRAYS)}; missing: {', '.join(missing)}")
    wrong = [name for name, kind in ARRAYS.items() if arrays[name].dtype != kind or arrays[name].ndim != 2]
    if wrong:
        raise ConfigError(f"arrays of the trees with a wrong type, or not of two dimensions: {', '.join(wrong)}")
    return Trees(**{name: arrays[name] for name in ARRAYS})


@dataclass(frozen=True)
class _Tables:
    """The trees laid out for evaluation: nodes first, then trees, so that OR over the nodes is one call."""

    feature: npt.NDArray[np.intp]  # (N * T,)
    threshold: Floats32  # (N * T, 1)
    unknown_right: Bools  # (N * T, 1)
    left_leaves: npt.NDArray[Any]  # (N * T, 1): the leaves on a node's left, as bits
    value: Floats  # (T * (N + 1),), a tree's leaves from left to right
    first: npt.NDArray[np.intp]  # (T, 1): where a tree's leaves begin in `value`
    shape: tuple[int, int]  # N, T

    def sums(self, columns: Floats32) -> Floats:
        """(F, m) -> (m,)"""
        read = columns.take(self.feature, axis=0)
        goes_right = read > self.threshold
        if np.isnan(columns).any():
            goes_right |= np.isnan(read) & self.unknown_right
        remaining = ~np.bitwise_or.reduce(
            (goes_right * self.left_leaves).reshape(*self.shape, columns.shape[1]), axis=0
        )
        leaf = np.bitwise_count((remaining & -remaining) - self.left_leaves.dtype.type(1))
        # `accumulate` adds in order by definition; `sum` uses another order for a single row.
        return np.asarray(np.add.accumulate(self.value.take(self.first + leaf), axis=0)[-1], dtype=np.float64)


def _tables(trees: Trees) -> _Tables:
    count, nodes = trees.feature.shape
    kind = next(dtype for most, dtype in WIDTHS.items() if nodes < most)
    left_leaves, value = np.zeros((count, nodes), dtype=kind), np.zeros((count, nodes + 1))
    for tree in range(count):
        leaves = list(_leaves(trees, tree))
        value[tree, : len(leaves)] = trees.value[tree, [leaf for leaf, _ in leaves]]
        for bit, (_, turns) in enumerate(leaves):
            left_leaves[tree, turns] |= kind(1 << bit)
    return _Tables(
        feature=np.maximum(trees.feature, 0).T.ravel().astype(np.intp),
        threshold=trees.threshold.T.reshape(-1, 1).copy(),
        unknown_right=~trees.unknown_left.T.reshape(-1, 1),
        left_leaves=left_leaves.T.reshape(-1, 1).copy(),
        value=value.ravel(),
        first=(np.arange(count) * (nodes + 1))[:, None],
        shape=(nodes, count),
    )


def _leaves(trees: Trees, tree: int) -> Iterator[tuple[int, list[int]]]:
    """Each leaf from left to right, with the nodes that have it on their left."""
    waiting: list[tuple[int, list[int]]] = [(0 if trees.feature[tree, :1].max(initial=-1) >= 0 else -1, [])]
    while waiting:
        node, left_of = waiting.pop()
        if node < 0:
            yield -1 - node, left_of
        else:
            waiting.append((int(trees.right[tree, node]), left_of))
            waiting.append((int(trees.left[tree, node]), [*left_of, node]))


def _check(trees: Trees) -> None:
    """Every used node except the root, and every leaf, must have exactly one parent, which comes before it."""
    count, nodes = trees.feature.shape
    fits = all(getattr(trees, name).shape == (count, nodes + (name == "value")) for name in ARRAYS)
    if not fits or nodes >= max(WIDTHS):
        raise ConfigError(f"the arrays of the trees do not fit together, or a tree has more than {max(WIDTHS)} leaves")
    if not (np.isfinite(trees.value).all() and not np.isnan(trees.threshold).any()):
        raise ConfigError("a leaf value of the trees is not finite, or a threshold is NaN")
    for tree in range(count):
        used = int((trees.feature[tree] >= 0).sum())
        below = np.concatenate([trees.left[tree, :used], trees.right[tree, :used]])
        expected = [*range(-1 - used, 0), *range(1, used)] if used else []
        later = (below < 0) | (below > np.tile(np.arange(used), 2))
        if (trees.feature[tree, :used] < 0).any() or sorted(below) != expected or not later.all():
            raise ConfigError(f"tree {tree} is not valid: its nodes and leaves do not form one tree")
