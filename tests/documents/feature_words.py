"""Meanings and units of the features, in words.

The meaning of a running mean is in form.py; those of a source's own measures are in its `Words`.
"""

from __future__ import annotations

from typing import NamedTuple

NUMBER, SHARE, CHANCE, RATING, SECONDS = "number", "share", "probability", "logit", "s"


class Meaning(NamedTuple):
    meaning: str
    unit: str


class Words(NamedTuple):
    """Every measure, class, observed measure, condition and code of a source, by name.

    `classes` and `codes` also list the possible values.
    """

    measures: dict[str, Meaning]
    observed: dict[str, Meaning]
    conditions: dict[str, Meaning]
    classes: dict[str, tuple[str, tuple[str, ...]]]
    codes: dict[str, tuple[str, tuple[float, ...]]]


UNITS = {
    "won": SHARE,
    "top3": SHARE,
    "beaten": SHARE,
    "win_residual": SHARE,
    "top3_residual": SHARE,
    "beaten_residual": SHARE,
    "beaten_lane": SHARE,
    "win_over_rating": SHARE,
    "unplaced": SHARE,
    "false_start": SHARE,
    "technique_1": SHARE,
    "technique_2": SHARE,
    "technique_3": SHARE,
    "technique_4": SHARE,
    "inner_won": SHARE,
    "inner_passed": SHARE,
    "expected_win": CHANCE,
    "timing_s": SECONDS,
    "timing_lead_s": SECONDS,
    "timing_spread_s": SECONDS,
    "pace_lead": SECONDS,
    "pace_over_own": SECONDS,
    "course_gain": "lanes",
}
"""Unit of a running mean, by its quantity."""

RATING_VALUES = {
    "rating": Meaning("overall rating of the entity", RATING),
    "lane_offset": Meaning("additional rating of the entity in this lane", RATING),
    "venue_offset": Meaning("additional rating of the entity at this venue", RATING),
    "equipment_rating": Meaning("rating of the equipment lent to the entity", RATING),
    "lane_rating": Meaning("rating of the lane at this venue plus that at all venues", RATING),
    "strength": Meaning("sum of all ratings, plus a learned weight times the ability on the card", RATING),
    "log_chance": Meaning("win probability by the strengths of all entries", "log of a probability"),
    "starts": Meaning("past starts", "log(1 + starts)"),
    "rest_days": Meaning("time since the result of the last start", "log(1 + days)"),
    "equipment_starts": Meaning("past starts with the equipment", "log(1 + starts)"),
}
EVENT = {
    "number": Meaning("number of the event in its session", NUMBER),
    "distance_m": Meaning("length of the course", "m"),
}
OBSERVED_COURSE = Meaning("lane taken when the event was observed", NUMBER)
OBSERVED_GAIN = Meaning("lanes gained towards the inside, relative to the slot", "lanes")
PACE_OVER_OWN = Meaning("relative to the event's mean, minus the entity's usual lead", SECONDS)
TIMING_OVER_OWN = Meaning("minus the entity's usual start timing", SECONDS)

RELATIVES = {
    "in_event": "the value minus the mean over the event's entries",
    "rank": "its rank in the event: -0.5 for the lowest, 0.5 for the highest, ties share a rank",
    "inner": "the value minus that of the entry one lane further in",
    "outer": "the value minus that of the entry one lane further out",
}
UNKNOWN = "1 if the value is unknown; only for values that are sometimes unknown in training"

TOKEN_MEANINGS = {
    "won": Meaning("came first", "0 or 1"),
    "beaten": Meaning("share of the other starters that finished behind", "share - 0.5"),
    "top3": Meaning("finished in the first three", "-0.5 or 0.5"),
    "unplaced": Meaning("has no place", "0 or 1"),
    "false_start": Meaning("started too early", "0 or 1"),
    "lane": Meaning("lane taken, or the slot if unknown", "lane / slots"),
    "inner": Meaning("started from the innermost lane", "0 or 1"),
    "timing": Meaning("start timing", "(s - 0.15) x 8"),
    "timing_lead": Meaning("start timing relative to the event's mean", "s x 10"),
    "pace_lead": Meaning("observed pace relative to the event's mean", "s x 8"),
    "expected": Meaning("win probability by the ratings at that time", CHANCE),
    "beaten_residual": Meaning("share of rivals beaten above the ratings' expectation", SHARE),
    "win_residual": Meaning("win, minus the win rate of the lane at that venue", SHARE),
    "technique_1": Meaning("won by technique 1", "0 or 1"),
    "technique_2": Meaning("won by technique 2", "0 or 1"),
    "technique_3": Meaning("won by technique 3", "0 or 1"),
    "technique_4": Meaning("won by technique 4", "0 or 1"),
    "rivals": Meaning("mean strength of the starters", RATING),
    "grade": Meaning("grade of the session", "(grade - 3) / 2"),
}
RELATION_MEANINGS = {
    "days_since": Meaning("time from its result to the instant of the features", "log(1 + days) / 4"),
    "same_venue": Meaning("at the venue of the event", "0 or 1"),
    "same_meeting": Meaning("in the meeting of the event", "0 or 1"),
    "same_lane": Meaning("from the same lane as in the event", "0 or 1"),
}
