"""Training targets, computed from settled events.

Terciles are computed from the training part only. An event or entry without a known target has -1 and no weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from services.predictor.data.events import Bools, Events, Floats, Ints

TREND = ("low", "mid", "high")
BEHAVIOUR = ("early", "normal", "late")


class Terciles(BaseModel):
    """Class bounds: below the first, below the second, the rest. Amounts per 100 staked; timings in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: tuple[float, float]
    timing_s: tuple[float, float]


@dataclass(frozen=True)
class Targets:
    """places (n, S): 1.. or 0 for no place; trend (n,) and behaviour (n, S): class or -1; winner (n,): index or -1."""

    places: Ints
    trend: Ints
    behaviour: Ints
    winner: Ints

    def __len__(self) -> int:
        return len(self.winner)

    def __getitem__(self, rows: Ints | Bools) -> Targets:
        return Targets(self.places[rows], self.trend[rows], self.behaviour[rows], self.winner[rows])


def terciles_of(events: Events) -> Terciles:
    return Terciles(amount=_bounds(events.amount), timing_s=_bounds(events.timing_s))


def targets_of(events: Events, terciles: Terciles) -> Targets:
    return Targets(
        places=np.where(np.isnan(events.place), 0, events.place).astype(np.int64),
        trend=_class(events.amount, terciles.amount),
        behaviour=_class(events.timing_s, terciles.timing_s),
        winner=np.where(events.has_winner, events.winner, -1),
    )


def _bounds(values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return (0.0, 0.0)
    low, high = np.quantile(finite, [1 / 3, 2 / 3])
    return (float(low), float(high))


def _class(values: Floats, bounds: tuple[float, float]) -> Ints:
    return np.where(np.isnan(values), -1, np.searchsorted(np.array(bounds), values, side="right")).astype(np.int64)
