"""Running means of entities, equipment and lanes, and how a settled event updates them.

A running mean is a sum and a weight that both halve every `half_life` occurrences. `RunningMeans.update` maps the
values before an event to those after it, for all its entries at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Floats


class RunningMean(NamedTuple):
    """A running mean of `quantity`. `half_life`: in occurrences; `shrink`: number of added occurrences of zero."""

    name: str
    quantity: str
    half_life: float
    shrink: float
    meaning: str


ENTITY = (
    RunningMean("win_residual_8", "win_residual", 8, 4, "wins above the lane's win rate"),
    RunningMean("win_residual_60", "win_residual", 60, 8, "wins above the lane's win rate"),
    RunningMean("top3_residual_8", "top3_residual", 8, 4, "top-three finishes above the lane's rate"),
    RunningMean("top3_residual_60", "top3_residual", 60, 8, "top-three finishes above the lane's rate"),
    RunningMean("beaten_residual_6", "beaten_residual", 6, 4, "share of rivals beaten above the ratings' expectation"),
    RunningMean(
        "beaten_residual_25", "beaten_residual", 25, 8, "share of rivals beaten above the ratings' expectation"
    ),
    RunningMean("beaten_lane_12", "beaten_lane", 12, 4, "share of rivals beaten above the lane's"),
    RunningMean("beaten_lane_100", "beaten_lane", 100, 8, "share of rivals beaten above the lane's"),
    RunningMean("timing_s_6", "timing_s", 6, 0, "start timing"),
    RunningMean("timing_s_40", "timing_s", 40, 0, "start timing"),
    RunningMean("timing_lead_s_15", "timing_lead_s", 15, 3, "start timing relative to the event's mean"),
    RunningMean("timing_lead_s_60", "timing_lead_s", 60, 6, "start timing relative to the event's mean"),
    RunningMean("timing_spread_s_40", "timing_spread_s", 40, 3, "deviation of the start timing from the entity's mean"),
    RunningMean("pace_lead_8", "pace_lead", 8, 3, "observed pace relative to the event's mean"),
    RunningMean("pace_lead_50", "pace_lead", 50, 6, "observed pace relative to the event's mean"),
    RunningMean("course_gain_20", "course_gain", 20, 2, "lanes gained towards the inside, relative to the slot"),
    RunningMean("unplaced_60", "unplaced", 60, 10, "share of starts without a place"),
    RunningMean("false_start_100", "false_start", 100, 20, "share of false starts"),
    RunningMean("led_60", "technique_1", 60, 6, "share of starts won by technique 1"),
    RunningMean("technique_2_60", "technique_2", 60, 6, "share of starts won by technique 2"),
    RunningMean("technique_3_60", "technique_3", 60, 6, "share of starts won by technique 3"),
    RunningMean("technique_4_60", "technique_4", 60, 6, "share of starts won by technique 4"),
    RunningMean("inner_won_30", "inner_won", 30, 5, "wins from the innermost lane, above its win rate"),
    RunningMean("inner_passed_30", "inner_passed", 30, 5, "starts from the innermost lane lost to technique 3 or 4"),
    RunningMean("favourite_40", "expected_win", 40, 0, "mean win probability by the ratings in past starts"),
)
ENTITY_LANE = (
    RunningMean("lane_win_residual", "win_residual", 30, 6, "wins above the lane's rate, from this lane"),
    RunningMean("lane_beaten", "beaten_lane", 30, 6, "share of rivals beaten above the lane's, from this lane"),
    RunningMean("lane_timing_s", "timing_s", 20, 0, "start timing from this lane"),
)
ENTITY_VENUE = (
    RunningMean("venue_win_residual", "win_residual", 40, 8, "wins above the lane's rate, at this venue"),
    RunningMean("venue_beaten", "beaten_residual", 40, 8, "share of rivals beaten above expectation, at this venue"),
)
MEETING = (
    RunningMean("meeting_win_residual", "win_residual", 1e9, 4, "wins above the lane's rate, this meeting"),
    RunningMean("meeting_beaten", "beaten_residual", 1e9, 4, "share of rivals beaten above expectation, this meeting"),
    RunningMean("meeting_beaten_lane", "beaten_lane", 1e9, 3, "share of rivals beaten above the lane's, this meeting"),
    RunningMean("meeting_timing_lead_s", "timing_lead_s", 1e9, 2, "start timing relative to the event, this meeting"),
    RunningMean("meeting_pace_lead", "pace_lead", 1e9, 2, "observed pace relative to the event, this meeting"),
)
EQUIPMENT = (
    RunningMean("equipment_beaten_15", "beaten_residual", 15, 6, "share of rivals beaten above expectation"),
    RunningMean("equipment_beaten_80", "beaten_residual", 80, 15, "share of rivals beaten above expectation"),
    RunningMean("equipment_win_60", "win_over_rating", 60, 15, "wins above the ratings' win probability"),
    RunningMean("equipment_pace_10", "pace_over_own", 10, 4, "pace relative to the event and the entity's mean"),
    RunningMean("equipment_pace_60", "pace_over_own", 60, 10, "pace relative to the event and the entity's mean"),
)
LANE = (
    RunningMean("win_rate", "won", 500, 0, "share of wins"),
    RunningMean("top3_rate", "top3", 500, 0, "share of top-three finishes"),
    RunningMean("beaten_rate", "beaten", 500, 0, "share of rivals beaten"),
    RunningMean("win_recent", "won", 60, 0, "share of recent wins"),
)


class RunningMeans:
    """Several running means in one array, with the columns [sums | weights]."""

    def __init__(self, means: tuple[RunningMean, ...]) -> None:
        self.means = means
        self.width = 2 * len(means)
        self._fade = np.array([0.5 ** (1 / trace.half_life) for trace in means])
        self._shrink = np.array([trace.shrink for trace in means])
        self._quantities = [trace.quantity for trace in means]

    def stack(self, quantities: Mapping[str, Floats]) -> Floats:
        """The quantity of each mean, (...,) each -> (..., means)."""
        return np.stack([quantities[name] for name in self._quantities], axis=-1)

    def column_of(self, name: str) -> int:
        """The column of a mean's sum."""
        return [trace.name for trace in self.means].index(name)

    def update(self, before: Floats, values: Floats) -> Floats:
        """(entries, 2 means), (entries, means) with NaN where nothing occurred -> updated (entries, 2 means)."""
        known = values == values  # noqa: PLR0124 - NaN differs from itself; the fastest check
        half = len(self.means)
        updated = np.empty_like(before)
        fade = np.where(known, self._fade, 1.0)
        updated[:, :half] = before[:, :half] * fade + np.where(known, values, 0.0)
        updated[:, half:] = before[:, half:] * fade + known
        return updated

    def read(self, rows: Floats) -> Floats:
        """(..., 2 means) -> (..., means), NaN where nothing has occurred."""
        half = len(self.means)
        return _mean(rows[..., :half], rows[..., half:], self._shrink)

    def read_one(self, rows: Floats, name: str) -> Floats:
        """(..., 2 means) -> (...)"""
        at = self.column_of(name)
        return _mean(rows[..., at], rows[..., len(self.means) + at], self._shrink[at])


def _mean(total: Floats, weight: Floats, shrink: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = total / (weight + shrink)
    return np.where(weight > 0, mean, np.nan)


def beaten_share(place: Floats, started: Bools) -> Floats:
    """(..., S): share of the other starters that finished behind; unplaced entries tie with each other."""
    rank = np.where(np.isnan(place), 99.0, place)
    mine, theirs = rank[..., :, None], rank[..., None, :]
    behind = ((mine < theirs) + 0.5 * (mine == theirs)) * started[..., None, :]
    rivals = np.maximum(started.sum(axis=-1, keepdims=True) - 1, 1)
    return np.where(started, (behind.sum(axis=-1) - 0.5) / rivals, np.nan)
