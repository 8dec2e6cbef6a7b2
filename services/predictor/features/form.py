"""What is remembered of an entity, of a piece of equipment and of a lane, and how a settled event changes it.

Everything is a running mean: a sum and a weight that both fade by half every so many occurrences. One function a kind
of key, from the values before the event to those after it, for all its entries at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Floats


class Trace(NamedTuple):
    """A running mean. `half_life`: in occurrences; `shrink`: how many occurrences of "nothing" pull it to zero."""

    name: str
    of: str
    half_life: float
    shrink: float
    meaning: str


ENTITY = (
    Trace("win_residual_8", "win_residual", 8, 4, "wins above what the lanes win at these venues"),
    Trace("win_residual_60", "win_residual", 60, 8, "wins above what the lanes win at these venues"),
    Trace("top3_residual_8", "top3_residual", 8, 4, "first three places above what the lanes reach"),
    Trace("top3_residual_60", "top3_residual", 60, 8, "first three places above what the lanes reach"),
    Trace("beaten_residual_6", "beaten_residual", 6, 4, "share of rivals beaten above what the ratings expect"),
    Trace("beaten_residual_25", "beaten_residual", 25, 8, "share of rivals beaten above what the ratings expect"),
    Trace("beaten_lane_12", "beaten_lane", 12, 4, "share of rivals beaten above what the lanes beat"),
    Trace("beaten_lane_100", "beaten_lane", 100, 8, "share of rivals beaten above what the lanes beat"),
    Trace("timing_s_6", "timing_s", 6, 0, "start timing"),
    Trace("timing_s_40", "timing_s", 40, 0, "start timing"),
    Trace("timing_lead_s_15", "timing_lead_s", 15, 3, "start timing against the event's mean"),
    Trace("timing_lead_s_60", "timing_lead_s", 60, 6, "start timing against the event's mean"),
    Trace("timing_spread_s_40", "timing_spread_s", 40, 3, "distance of the start timing from the entity's own mean"),
    Trace("pace_lead_8", "pace_lead", 8, 3, "observed pace against the event's mean"),
    Trace("pace_lead_50", "pace_lead", 50, 6, "observed pace against the event's mean"),
    Trace("course_gain_20", "course_gain", 20, 2, "lanes taken further inside than the slot"),
    Trace("unplaced_60", "unplaced", 60, 10, "share of starts without a place"),
    Trace("false_start_100", "false_start", 100, 20, "share of false starts"),
    Trace("led_60", "technique_1", 60, 6, "share of starts won by technique 1"),
    Trace("technique_2_60", "technique_2", 60, 6, "share of starts won by technique 2"),
    Trace("technique_3_60", "technique_3", 60, 6, "share of starts won by technique 3"),
    Trace("technique_4_60", "technique_4", 60, 6, "share of starts won by technique 4"),
    Trace("inner_won_30", "inner_won", 30, 5, "share won of the starts from the innermost lane, above its rate"),
    Trace("inner_passed_30", "inner_passed", 30, 5, "share of starts from the innermost lane lost to technique 3 or 4"),
    Trace("favourite_40", "expected_win", 40, 0, "mean chance to win, by the ratings, in past starts"),
)
ENTITY_LANE = (
    Trace("lane_win_residual", "win_residual", 30, 6, "wins above the rate, from this lane"),
    Trace("lane_beaten", "beaten_lane", 30, 6, "share of rivals beaten above the lane's, from this lane"),
    Trace("lane_timing_s", "timing_s", 20, 0, "start timing from this lane"),
)
ENTITY_VENUE = (
    Trace("venue_win_residual", "win_residual", 40, 8, "wins above the rate, at this venue"),
    Trace("venue_beaten", "beaten_residual", 40, 8, "share of rivals beaten above the ratings, at this venue"),
)
MEETING = (
    Trace("meeting_win_residual", "win_residual", 1e9, 4, "wins above the rate, in this meeting"),
    Trace("meeting_beaten", "beaten_residual", 1e9, 4, "share of rivals beaten above the ratings, in this meeting"),
    Trace("meeting_beaten_lane", "beaten_lane", 1e9, 3, "share of rivals beaten above the lanes', in this meeting"),
    Trace("meeting_timing_lead_s", "timing_lead_s", 1e9, 2, "start timing against the events' means, in this meeting"),
    Trace("meeting_pace_lead", "pace_lead", 1e9, 2, "observed pace against the events' means, in this meeting"),
)
EQUIPMENT = (
    Trace("equipment_beaten_15", "beaten_residual", 15, 6, "share of rivals beaten above expectation, with it"),
    Trace("equipment_beaten_80", "beaten_residual", 80, 15, "share of rivals beaten above expectation, with it"),
    Trace("equipment_win_60", "win_over_rating", 60, 15, "wins above what the ratings expect, with it"),
    Trace("equipment_pace_10", "pace_over_own", 10, 4, "pace against the event's mean and the entity's own, with it"),
    Trace("equipment_pace_60", "pace_over_own", 60, 10, "pace against the event's mean and the entity's own, with it"),
)
LANE = (
    Trace("win_rate", "won", 500, 0, "share of wins"),
    Trace("top3_rate", "top3", 500, 0, "share of first three places"),
    Trace("beaten_rate", "beaten", 500, 0, "share of rivals beaten"),
    Trace("win_recent", "won", 60, 0, "share of wins lately"),
)


class Means:
    """Sum and weight of each trace, side by side: columns [sums | weights]."""

    def __init__(self, traces: tuple[Trace, ...]) -> None:
        self.traces = traces
        self.width = 2 * len(traces)
        self._fade = np.array([0.5 ** (1 / trace.half_life) for trace in traces])
        self._shrink = np.array([trace.shrink for trace in traces])
        self._of = [trace.of for trace in traces]

    def stacked(self, said: Mapping[str, Floats]) -> Floats:
        """Of (...,) each -> (..., traces)"""
        return np.stack([said[name] for name in self._of], axis=-1)

    def at(self, name: str) -> int:
        """The column of a trace's sum."""
        return [trace.name for trace in self.traces].index(name)

    def after(self, before: Floats, values: Floats) -> Floats:
        """(entries, 2 traces), (entries, traces) with NaN where nothing occurred -> (entries, 2 traces)."""
        known = values == values  # noqa: PLR0124 - NaN differs from itself; the fastest way to ask
        half = len(self.traces)
        made = np.empty_like(before)
        fade = np.where(known, self._fade, 1.0)
        made[:, :half] = before[:, :half] * fade + np.where(known, values, 0.0)
        made[:, half:] = before[:, half:] * fade + known
        return made

    def read(self, rows: Floats) -> Floats:
        """(..., 2 traces) -> (..., traces), NaN where nothing ever occurred."""
        half = len(self.traces)
        return _mean(rows[..., :half], rows[..., half:], self._shrink)

    def read_one(self, rows: Floats, name: str) -> Floats:
        """(..., 2 traces) -> (...)"""
        at = self.at(name)
        return _mean(rows[..., at], rows[..., len(self.traces) + at], self._shrink[at])


def _mean(total: Floats, weight: Floats, shrink: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = total / (weight + shrink)
    return np.where(weight > 0, found, np.nan)


def beaten_share(place: Floats, started: Bools) -> Floats:
    """(..., S): share of the other starters that came in behind; unplaced ones are even with each other."""
    rank = np.where(np.isnan(place), 99.0, place)
    mine, theirs = rank[..., :, None], rank[..., None, :]
    behind = ((mine < theirs) + 0.5 * (mine == theirs)) * started[..., None, :]
    rivals = np.maximum(started.sum(axis=-1, keepdims=True) - 1, 1)
    return np.where(started, (behind.sum(axis=-1) - 0.5) / rivals, np.nan)
