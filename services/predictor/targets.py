"""What training learns to foretell, from settled events. Pure.

Terciles are fixed on the training part alone; an event or entry that cannot be judged carries -1 and no weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from services.predictor.facts import Floats, Season
from services.predictor.features import Bools
from services.predictor.history import Ints

TREND = ("low", "mid", "high")
BEHAVIOUR = ("early", "normal", "late")


class Terciles(BaseModel):
    """Class bounds: below the first, below the second, the rest. Amounts per 100 staked; timings in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: tuple[float, float]
    timing_s: tuple[float, float]


@dataclass(frozen=True)
class Targets:
    """places (n, S): 1.. or 0 for none; trend (n,) and behaviour (n, S): class or -1."""

    places: Ints
    trend: Ints
    behaviour: Ints

    def __getitem__(self, rows: Ints | Bools) -> Targets:
        return Targets(self.places[rows], self.trend[rows], self.behaviour[rows])

    @property
    def has_winner(self) -> Bools:
        """(n,): exactly one entry won."""
        return np.asarray((self.places == 1).sum(axis=1) == 1)

    @property
    def winner(self) -> Ints:
        """(n,) index of the winning slot, where there is one."""
        return np.asarray((self.places == 1).argmax(axis=1), dtype=np.int64)


def terciles_of(season: Season, training: Bools) -> Terciles:
    timings = season.outcomes.loc[training[season.outcomes["event"].to_numpy()], "timing_s"].to_numpy(np.float64)
    return Terciles(amount=_bounds(season.amounts[training]), timing_s=_bounds(timings))


def targets_of(season: Season, terciles: Terciles, slots: int) -> Targets:
    shape = (len(season.amounts), slots)
    places, timing = np.zeros(shape, dtype=np.int64), np.full(shape, np.nan)
    event, slot = season.outcomes["event"].to_numpy(np.int64), season.outcomes["slot"].to_numpy(np.int64) - 1
    usable = slot < slots
    places[event[usable], slot[usable]] = season.outcomes["place"].fillna(0).to_numpy(np.int64)[usable]
    timing[event[usable], slot[usable]] = season.outcomes["timing_s"].to_numpy(np.float64)[usable]
    return Targets(places, _class(season.amounts, terciles.amount), _class(timing, terciles.timing_s))


def _bounds(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return (0.0, 0.0)
    low, high = np.quantile(known, [1 / 3, 2 / 3])
    return (float(low), float(high))


def _class(values: Floats, bounds: tuple[float, float]) -> Ints:
    return np.where(np.isnan(values), -1, np.searchsorted(np.array(bounds), values, side="right")).astype(np.int64)
