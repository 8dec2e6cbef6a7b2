"""Replay buffer of transitions, sampled uniformly. Randomness is passed in.

A transition refers to its event by row, so the buffer holds numbers only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints


@dataclass(frozen=True)
class Transitions:
    """m decisions: event `row`, session state `before` (m, 3), `action`, (shaped) `reward`, `following` row (-1 at the
    end of the session), and the session state `after` (m, 3) as known at the following decision."""

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


class ReplayBuffer:
    """A ring buffer: beyond `capacity`, new transitions replace the oldest."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._added = 0
        self._buffer: Transitions | None = None

    def __len__(self) -> int:
        return min(self._added, self._capacity)

    def add(self, transitions: Transitions) -> None:
        if len(transitions) > self._capacity:
            raise ValueError(f"{len(transitions)} transitions do not fit in a buffer of {self._capacity}")
        if self._buffer is None:
            values = {each.name: getattr(transitions, each.name) for each in fields(Transitions)}
            self._buffer = Transitions(
                **{name: np.zeros((self._capacity, *each.shape[1:]), each.dtype) for name, each in values.items()}
            )
        positions = (self._added + np.arange(len(transitions))) % self._capacity
        for each in fields(Transitions):
            getattr(self._buffer, each.name)[positions] = getattr(transitions, each.name)
        self._added += len(transitions)

    def sample(self, size: int, rng: np.random.Generator) -> Transitions:
        if self._buffer is None:
            raise ValueError("the buffer is empty: add transitions before sampling")
        return self._buffer[rng.integers(0, len(self), size)]
