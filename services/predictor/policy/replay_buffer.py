"""Where transitions are kept and drawn from: evenly, or the more often the more surprising (Schaul and others, 2016).

Randomness is passed in. A transition names its event by row, so the buffer holds numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints


@dataclass(frozen=True)
class Transitions:
    """m decisions: event `row`, session `before` (m, 3), `action`, (shaped) `reward`, `following` row (-1: the end)
    and the session `after` (m, 3) as that next decision knows it."""

    row: Ints
    before: Floats
    action: Ints
    reward: Floats
    following: Ints
    after: Floats

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, rows: Ints | Bools) -> Transitions:
        return Transitions(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})


@dataclass(frozen=True)
class Sample:
    """`places` (b,) in the buffer; `weight` (b,) makes a draw that was not even count as if it were; at most 1."""

    transitions: Transitions
    places: Ints
    weight: Floats


class ReplayBuffer(Protocol):
    def __len__(self) -> int: ...
    def add(self, transitions: Transitions) -> None: ...
    def sample(self, size: int, rng: np.random.Generator) -> Sample: ...
    def tell(self, places: Ints, error: Floats) -> None: ...


class UniformBuffer:
    """A ring: what is added beyond `capacity` takes the place of the oldest."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._added = 0
        self._kept: Transitions | None = None

    def __len__(self) -> int:
        return min(self._added, self._capacity)

    def add(self, transitions: Transitions) -> None:
        self._places(transitions)

    def sample(self, size: int, rng: np.random.Generator) -> Sample:
        places = rng.integers(0, len(self), size)
        return Sample(self._at(places), places, np.ones(size))

    def tell(self, places: Ints, error: Floats) -> None:
        """Even draws do not ask how large an error was."""

    def _places(self, transitions: Transitions) -> Ints:
        """Keep them, and say where."""
        if len(transitions) > self._capacity:
            raise ValueError(f"{len(transitions)} transitions do not fit in a buffer of {self._capacity}")
        if self._kept is None:
            self._kept = Transitions(
                **{
                    each.name: np.zeros((self._capacity, *value.shape[1:]), dtype=value.dtype)
                    for each in fields(Transitions)
                    for value in [getattr(transitions, each.name)]
                }
            )
        places = (self._added + np.arange(len(transitions))) % self._capacity
        for each in fields(Transitions):
            getattr(self._kept, each.name)[places] = getattr(transitions, each.name)
        self._added += len(transitions)
        return places

    def _at(self, places: Ints) -> Transitions:
        if self._kept is None:
            raise ValueError("nothing was added to the buffer yet")
        return self._kept[places]


class PrioritisedBuffer(UniformBuffer):
    """Draws in proportion to (|error| + `least`) ** `alpha`; `beta` of the unevenness is made good by weights."""

    def __init__(self, capacity: int, alpha: float = 0.6, beta: float = 1.0, least: float = 1e-2) -> None:
        super().__init__(capacity)
        self._alpha, self._beta, self._least = alpha, beta, least
        self._tree = SumTree(capacity)
        self._highest = 1.0

    def add(self, transitions: Transitions) -> None:
        """What was never learned from is drawn as often as the most surprising that was."""
        places = self._places(transitions)
        self._tree.put(places, np.full(len(places), self._highest))

    def sample(self, size: int, rng: np.random.Generator) -> Sample:
        places = self._tree.find((np.arange(size) + rng.random(size)) / size * self._tree.total)
        share = self._tree.values(places) / self._tree.total
        weight = (len(self) * share) ** -self._beta
        return Sample(self._at(places), places, weight / weight.max())

    def tell(self, places: Ints, error: Floats) -> None:
        priority = (np.abs(error) + self._least) ** self._alpha
        self._highest = max(self._highest, float(priority.max(initial=0.0)))
        self._tree.put(places, priority)


class SumTree:
    """`size` numbers >= 0 as the leaves of a binary tree of sums: setting and finding take log2(size) steps."""

    def __init__(self, size: int) -> None:
        self._depth = max(int(np.ceil(np.log2(max(size, 2)))), 1)
        self._first_leaf = 1 << self._depth
        self._sums = np.zeros(2 * self._first_leaf)

    @property
    def total(self) -> float:
        return float(self._sums[1])

    def values(self, places: Ints) -> Floats:
        return self._sums[places + self._first_leaf]

    def put(self, places: Ints, values: Floats) -> None:
        """Where a place is named twice, the later value holds."""
        nodes = places + self._first_leaf
        self._sums[nodes] = values
        for _ in range(self._depth):
            nodes = np.unique(nodes >> 1)
            self._sums[nodes] = self._sums[2 * nodes] + self._sums[2 * nodes + 1]

    def find(self, at: Floats) -> Ints:
        """For numbers in [0, total): the place in whose stretch of the sums each falls, never one of value 0."""
        nodes = np.ones(len(at), dtype=np.int64)
        rest = at.astype(np.float64)
        for _ in range(self._depth):
            left = self._sums[2 * nodes]
            right = (rest >= left) & (self._sums[2 * nodes + 1] > 0)
            rest = np.where(right, rest - left, np.minimum(rest, left))
            nodes = 2 * nodes + right
        return nodes - self._first_leaf
