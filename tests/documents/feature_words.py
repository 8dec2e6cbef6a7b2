"""What features mean and in which unit, in words. Pure.

The running means tell their own meaning (form.py); of a source's own measures its `Words` tell it.
"""

from __future__ import annotations

from typing import NamedTuple

NUMBER, SHARE, CHANCE, RATING, SECONDS = "number", "share", "probability", "logit", "s"


class Meaning(NamedTuple):
    meaning: str
    unit: str


class Words(NamedTuple):
    """Of a source: every measure, class, observed measure, condition and code that it has, by name.

    `classes` and `codes` also say which values there are.
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
"""Of a running mean, by what it is the mean of."""

RATED = {
    "rating": Meaning("the entity's rating wherever it starts", RATING),
    "lane_offset": Meaning("the entity's rating in this lane, beyond its own", RATING),
    "venue_offset": Meaning("the entity's rating at this venue, beyond its own", RATING),
    "equipment_rating": Meaning("rating of what the entity was lent", RATING),
    "lane_rating": Meaning("rating of the lane: at this venue and everywhere", RATING),
    "strength": Meaning("sum of all ratings, and of what the card says of ability times its learned weight", RATING),
    "log_chance": Meaning("chance to win by the strengths of all entries", "log of a probability"),
    "starts": Meaning("past starts", "log(1 + starts)"),
    "rest_days": Meaning("time since the result of the last start", "log(1 + days)"),
    "equipment_starts": Meaning("past starts with the equipment", "log(1 + starts)"),
}
EVENT = {
    "number": Meaning("the event's place in its session", NUMBER),
    "distance_m": Meaning("length of the course", "m"),
}
OBSERVED_COURSE = Meaning("the lane that was taken when it was observed", NUMBER)
OBSERVED_GAIN = Meaning("how many lanes further in than the slot that is", "lanes")
PACE_OVER_OWN = Meaning("against the event's mean, and that against the entity's own usual lead", SECONDS)
TIMING_OVER_OWN = Meaning("against the entity's usual start timing", SECONDS)

RELATIVES = {
    "in_event": "the value less the mean over the event's entries",
    "rank": "its rank in the event: -0.5 for the lowest, 0.5 for the highest, equal ones share",
    "inner": "the value less that of the entry one lane further in",
    "outer": "the value less that of the entry one lane further out",
}
UNKNOWN = "1 where the value is unknown; only of values that are sometimes unknown in training"

TOKEN = {
    "won": Meaning("came first", "0 or 1"),
    "beaten": Meaning("share of the other starters that came in behind", "share less 0.5"),
    "top3": Meaning("came in among the first three", "0 or 1, less 0.5"),
    "unplaced": Meaning("got no place", "0 or 1"),
    "false_start": Meaning("started too early", "0 or 1"),
    "lane": Meaning("the lane taken, else the slot", "share of the slots"),
    "inner": Meaning("started from the innermost lane", "0 or 1"),
    "timing": Meaning("start timing", "(s - 0.15) x 8"),
    "timing_lead": Meaning("start timing against the event's mean", "s x 10"),
    "pace_lead": Meaning("observed pace against the event's mean", "s x 8"),
    "expected": Meaning("chance to win by the ratings of that time", CHANCE),
    "beaten_residual": Meaning("share of rivals beaten above what the ratings expected", SHARE),
    "win_residual": Meaning("a win, less the rate of the lane at that venue", SHARE),
    "technique_1": Meaning("won by technique 1", "0 or 1"),
    "technique_2": Meaning("won by technique 2", "0 or 1"),
    "technique_3": Meaning("won by technique 3", "0 or 1"),
    "technique_4": Meaning("won by technique 4", "0 or 1"),
    "rivals": Meaning("mean strength of those that started", RATING),
    "grade": Meaning("grade of the session", "(grade - 3) / 2"),
}
READ = {
    "days_since": Meaning("time from its result to the instant of the features", "log(1 + days) / 4"),
    "same_venue": Meaning("was at the venue of the event", "0 or 1"),
    "same_meeting": Meaning("was in the meeting of the event", "0 or 1"),
    "same_lane": Meaning("was from the lane that the entry has in the event", "0 or 1"),
}
