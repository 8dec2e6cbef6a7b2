"""What a policy sees of an event besides its session: the heads' probabilities and the model's input features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.predictor.data.events import Bools, Floats, Floats32, Ints

MIN_PROBABILITY = 1e-5
"""Probabilities are raised to at least this value, so that their logarithms stay finite."""
RELATIVE_SUFFIXES = ("_in_event", "_rank", "_inner", "_outer", "_unknown")
"""Name suffixes of features that compare an entry with the others of its event: the policy compares entries itself."""


class ModelProbabilities(Protocol):
    """Outputs of the heads for n events: win, top3 (n, S), trend (n, 3), behaviour (n, S, 3), embedding (n, C)."""

    @property
    def win(self) -> Floats: ...
    @property
    def top3(self) -> Floats: ...
    @property
    def trend(self) -> Floats: ...
    @property
    def behaviour(self) -> Floats: ...
    @property
    def embedding(self) -> Floats: ...


@dataclass(frozen=True)
class PolicyContext:
    """`win` (n, S) probabilities; `slot` (n, S, F) and `event` (n, E) features; `occupied` (n, S): the slot has an
    entry.

    Rows are independent of each other.
    """

    win: Floats
    slot: Floats32
    event: Floats32
    occupied: Bools

    def __len__(self) -> int:
        return len(self.win)

    @property
    def slots(self) -> int:
        return int(self.win.shape[1])

    def __getitem__(self, rows: Ints | Bools | slice) -> PolicyContext:
        return PolicyContext(self.win[rows], self.slot[rows], self.event[rows], self.occupied[rows])


def policy_context_of(
    probabilities: ModelProbabilities, occupied: Bools, entry: Floats32 | None = None, event: Floats32 | None = None
) -> PolicyContext:
    """`entry` (n, S, F) and `event` (n, E): the model's standardised inputs, from which the policy learns how the
    market prices an entry. The market follows the card more closely than a good model does; bets profit from that
    difference.
    """
    win = np.where(occupied, probabilities.win, 0.0)
    slots = [_logit(win), np.log(np.maximum(win, MIN_PROBABILITY)), _rank(win), _logit(probabilities.top3)]
    behaviour = np.log(np.maximum(probabilities.behaviour, MIN_PROBABILITY))
    parts = [np.stack(slots, axis=2), behaviour] + ([] if entry is None else [entry])
    events = [np.log(np.maximum(probabilities.trend, MIN_PROBABILITY)), _shape(win), probabilities.embedding]
    return PolicyContext(
        win=win,
        slot=np.where(occupied[:, :, None], np.concatenate(parts, axis=2), 0.0).astype(np.float32),
        event=np.concatenate(events + ([] if event is None else [event]), axis=1).astype(np.float32),
        occupied=occupied,
    )


def absolute_columns(features: Sequence[str]) -> Ints:
    """Columns of the entry features without the relative ones: policies trained on these alone do as well, in a
    fraction of the time."""
    return np.array([at for at, name in enumerate(features) if not name.endswith(RELATIVE_SUFFIXES)], dtype=np.int64)


def _logit(probability: Floats) -> Floats:
    return np.log(np.maximum(probability, MIN_PROBABILITY)) - np.log(np.maximum(1.0 - probability, MIN_PROBABILITY))


def _rank(win: Floats) -> Floats:
    """0 for the most probable; ties in the order of slots."""
    return np.argsort(np.argsort(-win, axis=1, kind="stable"), axis=1, kind="stable").astype(np.float64)


def _shape(win: Floats) -> Floats:
    """(n, 4): logarithms of the two highest probabilities, entropy in nats, probability of the first slot."""
    ordered = np.log(np.maximum(-np.sort(-win, axis=1)[:, :2], MIN_PROBABILITY))
    entropy = -(win * np.log(np.maximum(win, MIN_PROBABILITY))).sum(axis=1)
    return np.concatenate([ordered, entropy[:, None], win[:, :1]], axis=1)
