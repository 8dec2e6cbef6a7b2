"""Synthetic events with known probabilities: scores are a function of the features, places are drawn from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Bools, Floats, Floats32, Ints
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.softmax import softmax


@dataclass(frozen=True)
class SyntheticEvents:
    entry: Floats32
    occupied: Bools
    places: Floats
    winner: Ints
    truth: Floats
    training: Ints
    validation: Ints

    @property
    def choices(self) -> ChoiceData:
        return ChoiceData(self.entry, self.occupied, self.winner, self.training, self.validation)


def synthetic_events(events: int = 6000, slots: int = 4, features: int = 5, seed: int = 0) -> SyntheticEvents:
    """Slot 1 is better than the others, feature 0 has a step, feature 1 is linear; the last slot is often empty."""
    rng = np.random.default_rng(seed)
    entry = rng.standard_normal((events, slots, features)).astype(np.float32)
    entry[..., 2] = np.arange(slots)
    occupied = np.ones((events, slots), dtype=np.bool_)
    occupied[:, -1] = rng.random(events) < 0.7
    scores = 1.5 * (entry[..., 0] > 0.5) + 0.8 * entry[..., 1] + (entry[..., 2] == 0)
    truth = softmax(scores.astype(np.float64), occupied)
    # A Plackett-Luce draw of the order: sorted by score plus Gumbel noise.
    drawn = np.where(occupied, scores + rng.gumbel(size=scores.shape), -np.inf)
    places = np.where(occupied, (-drawn).argsort(axis=1).argsort(axis=1) + 1.0, np.nan)
    half = events * 2 // 3
    return SyntheticEvents(
        entry, occupied, places, drawn.argmax(axis=1), truth, np.arange(half), np.arange(half, events)
    )
