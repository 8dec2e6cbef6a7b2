"""Running means of entities, equipment and lanes, and how a settled event updates them.

A running mean is a sum and a weight that both halve every `half_life` occurrences. `RunningMeans.update` maps the
values before an event to those after it, for all its entries at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Floats


class Trace(NamedTuple):
    """A running mean of `quantity`. `half_life`: in occurrences; `shrink`: number of added occurrences of zero."""

    name: str
    of: str
    half_life: float
    shrink: float
    meaning: str


ENTITY = (
    Trace("win_residual_8", "win_residual", 8, 4, "wins above the lane's win rate"),
    Trace("win_residual_60", "win_residual", 60, 8, "wins above the lane's win rate"),
    Trace("top3_residual_8", "top3_residual", 8, 4, "top-three finishes above the lane's rate"),
    Trace("top3_residual_60", "top3_residual", 60, 8, "top-three finishes above the lane's rate"),
    Trace("beaten_residual_6", "beaten_residual", 6, 4, "share of rivals beaten above the ratings' expectation"),
    Trace("beaten_residual_25", "beaten_residual", 25, 8, "share of rivals beaten above the ratings' expectation"),
    Trace("beaten_lane_12", "beaten_lane", 12, 4, "share of rivals beaten above the lane's"),
    Trace("beaten_lane_100", "beaten_lane", 100, 8, "share of rivals beaten above the lane's"),
    Trace("timing_s_6", "timing_s", 6, 0, "start timing"),
    Trace("timing_s_40", "timing_s", 40, 0, "start timing"),
    Trace("timing_lead_s_15", "timing_lead_s", 15, 3, "start timing relative to the event's mean"),
    Trace("timing_lead_s_60", "timing_lead_s", 60, 6, "start timing relative to the event's mean"),
    Trace("timing_spread_s_40", "timing_spread_s", 40, 3, "deviation of the start timing from the entity's mean"),
    Trace("pace_lead_8", "pace_lead", 8, 3, "observed pace relative to the event's mean"),
    Trace("pace_lead_50", "pace_lead", 50, 6, "observed pace relative to the event's mean"),
    Trace("course_gain_20", "course_gain", 20, 2, "lanes gained towards the inside, relative to the slot"),
    Trace("unplaced_60", "unplaced", 60, 10, "share of starts without a place"),
    Trace("false_start_100", "false_start", 100, 20, "share of false starts"),
    Trace("led_60", "technique_1", 60, 6, "share of starts won by technique 1"),
    Trace("technique_2_60", "technique_2", 60, 6, "share of starts won by technique 2"),
    Trace("technique_3_60", "technique_3", 60, 6, "share of starts won by technique 3"),
    Trace("technique_4_60", "technique_4", 60, 6, "share of starts won by technique 4"),
    Trace("inner_won_30", "inner_won", 30, 5, "wins from the innermost lane, above its win rate"),
    Trace("inner_passed_30", "inner_passed", 30, 5, "starts from the innermost lane lost to technique 3 or 4"),
    Trace("favourite_40", "expected_win", 40, 0, "mean win probability by the ratings in past starts"),
)
ENTITY_LANE = (
    Trace("lane_win_residual", "win_residual", 30, 6, "wins above the lane's rate, from this lane"),
    Trace("lane_beaten", "beaten_lane", 30, 6, "share of rivals beaten above the lane's, from this lane"),
    Trace("lane_timing_s", "timing_s", 20, 0, "start timing from this lane"),
)
ENTITY_VENUE = (
    Trace("venue_win_residual", "win_residual", 40, 8, "wins above the lane's rate, at this venue"),
    Trace("venue_beaten", "beaten_residual", 40, 8, "share of rivals beaten above expectation, at this venue"),
)
MEETING = (
    Trace("meeting_win_residual", "win_residual", 1e9, 4, "wins above the lane's rate, this meeting"),
    Trace("meeting_beaten", "beaten_residual", 1e9, 4, "share of rivals beaten above expectation, this meeting"),
    Trace("meeting_beaten_lane", "beaten_lane", 1e9, 3, "share of rivals beaten above the lane's, this meeting"),
    Trace("meeting_timing_lead_s", "timing_lead_s", 1e9, 2, "start timing relative to the event, this meeting"),
    Trace("meeting_pace_lead", "pace_lead", 1e9, 2, "observed pace relative to the event, this meeting"),
)
EQUIPMENT = (
    Trace("equipment_beaten_15", "beaten_residual", 15, 6, "share of rivals beaten above expectation"),
    Trace("equipment_beaten_80", "beaten_residual", 80, 15, "share of rivals beaten above expectation"),
    Trace("equipment_win_60", "win_over_rating", 60, 15, "wins above the ratings' win probability"),
    Trace("equipment_pace_10", "pace_over_own", 10, 4, "pace relative to the event and the entity's mean"),
    Trace("equipment_pace_60", "pace_over_own", 60, 10, "pace relative to the event and the entity's mean"),
)
LANE = (
    Trace("win_rate", "won", 500, 0, "share of wins"),
    Trace("top3_rate", "top3", 500, 0, "share of top-three finishes"),
    Trace("beaten_rate", "beaten", 500, 0, "share of rivals beaten"),
    Trace("win_recent", "won", 60, 0, "share of recent wins"),
)


class Means:
    """Several running means in one array, with the columns [sums | weights]."""

    def __init__(self, traces: tuple[Trace, ...]) -> None:
        self.traces = traces
        self.width = 2 * len(traces)
        self._fade = np.array([0.5 ** (1 / trace.half_life) for trace in traces])
        self._shrink = np.array([trace.shrink for trace in traces])
        self._of = [trace.of for trace in traces]

    def stacked(self, said: Mapping[str, Floats]) -> Floats:
        """The quantity of each mean, (...,) each -> (..., means)."""
        return np.stack([said[name] for name in self._of], axis=-1)

    def at(self, name: str) -> int:
        """The column of a mean's sum."""
        return [trace.name for trace in self.traces].index(name)

    def after(self, before: Floats, values: Floats) -> Floats:
        """(entries, 2 means), (entries, means) with NaN where nothing occurred -> updated (entries, 2 means)."""
        known = values == values  # noqa: PLR0124 - NaN differs from itself; the fastest check
        half = len(self.traces)
        made = np.empty_like(before)
        fade = np.where(known, self._fade, 1.0)
        made[:, :half] = before[:, :half] * fade + np.where(known, values, 0.0)
        made[:, half:] = before[:, half:] * fade + known
        return made

    def read(self, rows: Floats) -> Floats:
        """(..., 2 means) -> (..., means), NaN where nothing has occurred."""
        half = len(self.traces)
        return _mean(rows[..., :half], rows[..., half:], self._shrink)

    def read_one(self, rows: Floats, name: str) -> Floats:
        """(..., 2 means) -> (...)"""
        at = self.at(name)
        return _mean(rows[..., at], rows[..., len(self.traces) + at], self._shrink[at])


def _mean(total: Floats, weight: Floats, shrink: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = total / (weight + shrink)
    return np.where(weight > 0, found, np.nan)


def beaten_share(place: Floats, started: Bools) -> Floats:
    """(..., S): share of the other starters that finished behind; unplaced entries tie with each other."""
    rank = np.where(np.isnan(place), 99.0, place)
    mine, theirs = rank[..., :, None], rank[..., None, :]
    behind = ((mine < theirs) + 0.5 * (mine == theirs)) * started[..., None, :]
    rivals = np.maximum(started.sum(axis=-1, keepdims=True) - 1, 1)
    return np.where(started, (behind.sum(axis=-1) - 0.5) / rivals, np.nan)
