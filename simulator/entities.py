"""Draws racers and equipment: their latents, and their values on the card under the real source's keys.

The card is a noisy summary: a rating is skill plus an error that is fixed for half a year. So results give information
beyond the card, and the card gives information about racers without results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from simulator.draws import Draw, stream
from simulator.names import name_of
from simulator.world import START_MEAN_S, START_SPREAD_S, VENUE_LANE, Floats, Ints

FIRST_NUMBER = 9001
MOTORS = 60
HULLS = 70
CARD_ERROR = 0.40  # of a rating whose spread is 1
LOCAL_ERROR = 0.60
UNRATED_AT_VENUE = 0.10  # 23,764 of 236,160 entries have a local rate of 0
START_IN_RATING, AFFINITY_IN_RATING = 0.2, 0.2
TIMING_CARD_ERROR_S = 0.006
MOTOR_CARD_ERROR = 0.7
BASE_MEAN_S, BASE_SPREAD_S = 6.79, 0.05
# Scales of the published ratings: points, and the share of top-2 finishes of racers and motors.
POINTS_MEAN, POINTS_SPREAD = 5.2, 1.1
TOP_2_MEAN, TOP_2_SHRINK, MOTOR_TOP_2_SPREAD = 33.0, 1.2, 8.0
NOVICE = 0.26  # 3,987 entries without mean start timing among 15,338 of class 4
# Ratings above which a racer is of class 1, 2, 3; shares 25, 24, 45 and 6 percent.
CLASS_BOUNDS = (0.70, -0.05, -1.85)

Card = Mapping[str, object]


@dataclass(frozen=True)
class Racers:
    """The roster: arrays (racers,); taste (racers, 6 courses)."""

    skill: Floats
    start: Floats
    taste: Floats
    age: Ints
    branch: Ints
    birthplace: Ints
    weight_kg: Floats
    novice: Floats


def draw_racers(seed: int, count: int) -> Racers:
    rng = stream(seed, Draw.RACERS)
    raw_skill = rng.normal(size=count)
    skill = (
        raw_skill - raw_skill.mean()
    ) / raw_skill.std()  # standardised, so that all seeds give equally hard seasons
    light = rng.random(count) < 0.15
    weight = np.where(
        light, np.maximum(46.0, rng.normal(47.6, 0.9, count)), np.maximum(51.6, rng.normal(53.2, 1.4, count))
    )
    return Racers(
        skill=skill,
        start=0.5 * skill + np.sqrt(0.75) * rng.normal(size=count),
        taste=rng.normal(size=(count, 6)),
        age=rng.integers(18, 62, count),
        branch=rng.integers(1, 48, count),
        birthplace=rng.integers(1, 48, count),
        weight_kg=weight,
        novice=rng.random(count),
    )


@dataclass(frozen=True)
class Venue:
    """The latents of a venue (lanes, base lap time, motors, racers' affinities) and the cards of its equipment."""

    lane: Floats  # (6,)
    base_time_s: float
    motor: Floats  # (MOTORS,)
    affinity: Floats  # (racers,)
    motor_cards: tuple[Card, ...]
    hull_cards: tuple[Card, ...]


def draw_venue(seed: int, number: int, racers: int) -> Venue:
    rng = stream(seed, Draw.VENUE, number)
    lane = rng.normal(0.0, VENUE_LANE, 6)
    motor = rng.normal(size=MOTORS)
    noisy_motor = motor + rng.normal(0.0, MOTOR_CARD_ERROR, MOTORS)
    return Venue(
        lane=lane,
        base_time_s=float(rng.normal(BASE_MEAN_S, BASE_SPREAD_S)),
        motor=motor,
        affinity=rng.normal(size=racers),
        motor_cards=_equipment_cards("motor", noisy_motor, MOTOR_TOP_2_SPREAD, 0.01, rng),
        hull_cards=_equipment_cards("boat", rng.normal(size=HULLS), 6.0, 0.033, rng),
    )


def _equipment_cards(
    kind: str, rating: Floats, spread: float, new_rate: float, rng: np.random.Generator
) -> tuple[Card, ...]:
    """Cards with the shares of top-2 and top-3 finishes; 0 for new equipment, as in the real source."""
    is_used = rng.random(len(rating)) >= new_rate
    top_2 = np.clip(TOP_2_MEAN + spread * rating / TOP_2_SHRINK, 0.0, 100.0) * is_used
    top_3 = np.clip(top_2 + 16.5 + rng.normal(0.0, 3.0, len(rating)), 0.0, 100.0) * is_used
    keys = (
        f"racer_assigned_{kind}_number",
        f"racer_assigned_{kind}_top_2_percent",
        f"racer_assigned_{kind}_top_3_percent",
    )
    rows = zip(range(1, len(rating) + 1), top_2.tolist(), top_3.tolist(), strict=True)
    return tuple(
        dict(zip(keys, (n, published_number(two), published_number(three)), strict=True)) for n, two, three in rows
    )


def half_year(day: date) -> int:
    """The number of the rating period: classes and ratings change on 1 January and 1 July."""
    return 2 * day.year + (day.month > 6)


def draw_cards(seed: int, racers: Racers, venue: int, affinity: Floats, period: int) -> list[Card]:
    """The card of every racer at one venue in one rating period, without the weight, which each race fills in."""
    rng = stream(seed, Draw.CARD, period)
    count = len(racers.skill)
    rating = racers.skill + START_IN_RATING * racers.start + rng.normal(0.0, CARD_ERROR, count)
    timing = START_MEAN_S - START_SPREAD_S * racers.start + rng.normal(0.0, TIMING_CARD_ERROR_S, count)
    starts = (rng.random(count), rng.random(count))
    national = _published_ratings(rating, 0.12, rng)
    local_rng = stream(seed, Draw.LOCAL, venue, period)
    local_rating = rating + AFFINITY_IN_RATING * affinity + local_rng.normal(0.0, LOCAL_ERROR, count)
    local = _published_ratings(local_rating, 0.25, local_rng) * (local_rng.random(count) >= UNRATED_AT_VENUE)
    rank = np.searchsorted(-np.array(CLASS_BOUNDS), -rating) + 1  # (racers,) 1..4
    return [
        _card(
            racers,
            i,
            int(rank[i]),
            float(timing[i]),
            (float(starts[0][i]), float(starts[1][i])),
            national[:, i],
            local[:, i],
        )
        for i in range(count)
    ]


def _published_ratings(rating: Floats, error: float, rng: np.random.Generator) -> Floats:
    """(3, racers): mean points, top-2 and top-3 percentages."""
    points = np.clip(POINTS_MEAN + POINTS_SPREAD * rating, 1.0, 9.5)
    top_2 = np.clip(TOP_2_MEAN + 11.5 * (rating + rng.normal(0.0, error, len(rating))), 0.0, 95.0)
    top_3 = np.clip(top_2 + 16.5 + 2.5 * rng.normal(0.0, 1.0, len(rating)), top_2, 100.0)
    return np.stack([points, top_2, top_3])


def _card(
    racers: Racers, i: int, rank: int, timing: float, starts: tuple[float, float], national: Floats, local: Floats
) -> Card:
    novice = rank == 4 and racers.novice[i] < NOVICE
    return {
        "racer_name": name_of(i),
        "racer_number": FIRST_NUMBER + i,
        "racer_class_number": rank,
        "racer_branch_number": int(racers.branch[i]),
        "racer_birthplace_number": int(racers.birthplace[i]),
        "racer_age": int(racers.age[i]),
        "racer_weight": None,
        "racer_flying_count": int(starts[0] < 0.14) + int(starts[0] < 0.005),
        "racer_late_count": int(starts[1] < 0.003),
        "racer_average_start_timing": None if novice else published_number(max(0.08, timing)),
        **{f"racer_national_top_{n}_percent": published_number(float(national[n - 1])) for n in (1, 2, 3)},
        **{f"racer_local_top_{n}_percent": published_number(float(local[n - 1])) for n in (1, 2, 3)},
    }


def published_number(value: float, digits: int = 2) -> int | float:
    """A number in the real source's style: rounded, and an int when whole."""
    rounded = round(value, digits)
    return int(rounded) if rounded == int(rounded) else rounded
