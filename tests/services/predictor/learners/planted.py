"""Made-up events whose truth is known: scores are a function of the entries' features, places are drawn from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Bools, Floats, Floats32, Ints
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.softmax import softmax


@dataclass(frozen=True)
class Planted:
    entry: Floats32
    taken: Bools
    places: Floats
    winner: Ints
    truth: Floats
    training: Ints
    validation: Ints

    @property
    def choices(self) -> ChoiceData:
        return ChoiceData(self.entry, self.taken, self.winner, self.training, self.validation)


def planted(events: int = 6000, slots: int = 4, features: int = 5, seed: int = 0) -> Planted:
    """Slot 1 is better than the others, feature 0 counts in steps, feature 1 straight; the last slot is often empty."""
    rng = np.random.default_rng(seed)
    entry = rng.standard_normal((events, slots, features)).astype(np.float32)
    entry[..., 2] = np.arange(slots)
    taken = np.ones((events, slots), dtype=np.bool_)
    taken[:, -1] = rng.random(events) < 0.7
    scores = 1.5 * (entry[..., 0] > 0.5) + 0.8 * entry[..., 1] + (entry[..., 2] == 0)
    truth = softmax(scores.astype(np.float64), taken)
    # Who is first, second, ... of a Plackett-Luce draw: sorted by score plus Gumbel noise.
    drawn = np.where(taken, scores + rng.gumbel(size=scores.shape), -np.inf)
    places = np.where(taken, (-drawn).argsort(axis=1).argsort(axis=1) + 1.0, np.nan)
    half = events * 2 // 3
    return Planted(entry, taken, places, drawn.argmax(axis=1), truth, np.arange(half), np.arange(half, events))
