"""An entity's past starts -> what they say about its next one. Pure.

A start is settled history: who took part in an event that settled, in which slot, what place came of it. Starts count
from the instant their result was known, in that order, and only those known at `as_of` or before.
All sums run over the columns of an array, one element-wise step a start, so that a row's result does not depend on
which other rows are computed with it: training and serving give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.predictor.facts import PAST_STARTS, Floats

Ints = npt.NDArray[np.int64]

DAY_US = 24 * 60 * 60 * 1e6
# A meeting lasts up to seven days; older starts at the same venue belong to another one.
MEETING_US = 7 * DAY_US
# Residuals are pulled to zero by this many starts' worth of nothing: one lucky win is not yet skill.
SHRINK = 3.0

HISTORY = (
    "starts",
    "win_residual_8",
    "win_residual_60",
    "top3_residual_8",
    "top3_residual_60",
    "place_60",
    "slot_residual",
    "venue_residual",
    "meeting_residual",
    "timing_s_6",
    "timing_s_40",
    "course_gain_20",
    "unplaced_20",
    "rest_days",
)
"""Columns of `history_of`; a number at the end is the half-life in starts. Unknown is NaN."""


@dataclass(frozen=True)
class PastStarts:
    """Starts sorted by entity and by when they became known, ready to be asked for."""

    columns: dict[str, Floats]
    entities: pd.Index[Any]
    times_us: Floats
    keys: Ints

    @classmethod
    def of(cls, starts: pd.DataFrame) -> PastStarts:
        ordered = starts.sort_values(["entity_key", "settled_us", "event_key", "slot"], kind="stable")
        entities = pd.Index(ordered["entity_key"].unique())
        settled = ordered["settled_us"].to_numpy(np.float64)
        times = np.unique(settled)
        # One sorted integer for (entity, time), so that a binary search finds what was known.
        keys = entities.get_indexer(ordered["entity_key"]) * (len(times) + 1) + np.searchsorted(times, settled)
        names = ("venue", "slot", "course", "place", "timing_s", "settled_us")
        return cls({name: ordered[name].to_numpy(np.float64) for name in names}, entities, times, keys)

    def known(self, entity_keys: pd.Series[str], as_of_us: Floats) -> Ints:
        """(n, PAST_STARTS) positions in `columns`, oldest first, -1 where there is none; known at as_of or before."""
        entity = self.entities.get_indexer(pd.Index(entity_keys))
        first = entity * (len(self.times_us) + 1)
        ranks = np.searchsorted(self.times_us, as_of_us, side="right")
        begin, end = np.searchsorted(self.keys, first), np.searchsorted(self.keys, first + ranks)
        positions = end[:, None] + np.arange(-PAST_STARTS, 0)
        usable = (positions >= begin[:, None]) & (entity >= 0)[:, None] & np.isfinite(as_of_us)[:, None]
        return np.where(usable, positions, -1)


def history_of(
    past: PastStarts,
    positions: Ints,
    slot: Floats,
    venue: Floats,
    as_of_us: Floats,
    win_rate: Floats,
    top3_rate: Floats,
) -> Floats:
    """(n, PAST_STARTS) positions -> (n, H), columns as HISTORY. The rates are those of each slot, 1 first."""
    column = {name: _take(values, positions) for name, values in past.columns.items()}
    real = positions >= 0
    base = np.where(real, column["slot"], 1.0).astype(np.int64).clip(1, len(win_rate)) - 1
    win = np.where(real, (column["place"] == 1) - win_rate[base], np.nan)
    top3 = np.where(real, (column["place"] <= 3) - top3_rate[base], np.nan)
    age = as_of_us[:, None] - column["settled_us"]
    here = column["venue"] == venue[:, None]
    count = real.sum(axis=1)
    return np.stack(
        [
            np.log1p(count),
            _shrunk(win, 8),
            _shrunk(win, 60),
            _shrunk(top3, 8),
            _shrunk(top3, 60),
            _mean(column["place"], 60),
            _shrunk(np.where(column["slot"] == slot[:, None], win, np.nan), 60),
            _shrunk(np.where(here, win + top3, np.nan), 60),
            _shrunk(np.where(here & (age <= MEETING_US), win + top3, np.nan), 60),
            _mean(column["timing_s"], 6),
            _mean(column["timing_s"], 40),
            _mean(column["slot"] - column["course"], 20),
            _mean(np.where(real, np.isnan(column["place"]) * 1.0, np.nan), 20),
            np.log1p(np.maximum(age[:, -1], 0.0) / DAY_US),
        ],
        axis=1,
    )


def _take(values: Floats, positions: Ints) -> Floats:
    if not len(values):
        return np.full(positions.shape, np.nan)
    return np.where(positions >= 0, values[positions.clip(0)], np.nan)


def _sums(values: Floats, half_life: float) -> tuple[Floats, Floats]:
    """Exponentially weighted sum and weight over the known values of each row, the last column weighing most."""
    decay = 0.5 ** (1 / half_life)
    total, weight = np.zeros(len(values)), np.zeros(len(values))
    for column in values.T:
        known = np.isfinite(column)
        total = total * decay + np.where(known, column, 0.0)
        weight = weight * decay + known
    return total, weight


def _mean(values: Floats, half_life: float) -> Floats:
    total, weight = _sums(values, half_life)
    return np.asarray(np.divide(total, weight, out=np.full(len(values), np.nan), where=weight > 0))


def _shrunk(values: Floats, half_life: float) -> Floats:
    """The mean, drawn towards zero by SHRINK starts; unknown where no start counts."""
    total, weight = _sums(values, half_life)
    return np.where(weight > 0, total / (weight + SHRINK), np.nan)
