"""Base rates: the forecast of an event of which only the occupied slots are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.data.targets import BEHAVIOUR, TREND, Targets
from services.predictor.evaluation.comparison import Forecast


@dataclass(frozen=True)
class SlotRates:
    """`wins` (S,) and `top3` (S,): how often each slot wins and finishes in the first three, with add-one smoothing."""

    wins: Floats
    top3: Floats

    def probabilities(self, occupied: Bools) -> Floats:
        """(n, S), rows sum to 1 over the occupied slots."""
        shares = np.where(occupied, self.wins, 0.0)
        total = shares.sum(axis=1, keepdims=True)
        return np.asarray(shares / np.where(total > 0, total, 1.0), dtype=np.float64)

    def top3_probabilities(self, occupied: Bools) -> Floats:
        return np.where(occupied, self.top3, 0.0)


@dataclass(frozen=True)
class BaseRates:
    """`trend`, `behaviour` (3,): the share of each class."""

    slots: SlotRates
    trend: Floats
    behaviour: Floats

    def forecast(self, occupied: Bools) -> Forecast:
        return Forecast(
            self.slots.probabilities(occupied),
            self.slots.top3_probabilities(occupied),
            np.broadcast_to(self.trend, (len(occupied), len(self.trend))),
            np.broadcast_to(self.behaviour, (*occupied.shape, len(self.behaviour))),
        )


def fit_base_rates(occupied: Bools, places: Floats, targets: Targets) -> BaseRates:
    """The rates of n training events."""
    slots = slot_rates(occupied, places, targets.winner)
    return BaseRates(slots, class_rates(targets.trend, len(TREND)), class_rates(targets.behaviour, len(BEHAVIOUR)))


def slot_rates(occupied: Bools, places: Floats, winner: Ints) -> SlotRates:
    """The rates of events (n, S); those without a winner (-1) are skipped."""
    has_winner = winner >= 0
    entries = occupied[has_winner].sum(axis=0)
    wins = np.bincount(winner[has_winner], minlength=occupied.shape[1])
    top3 = (occupied[has_winner] & (places[has_winner] >= 1) & (places[has_winner] <= 3)).sum(axis=0)
    return SlotRates((wins + 1) / (entries + occupied.shape[1]), (top3 + 1) / (entries + 2))


def class_rates(labels: Ints, classes: int) -> Floats:
    """(m,) class indices, -1 for unknown -> (K,) shares that sum to 1, with add-one smoothing."""
    counts = np.bincount(labels[labels >= 0], minlength=classes) + 1
    return np.asarray(counts / counts.sum(), dtype=np.float64)
