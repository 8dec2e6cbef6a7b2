"""Draws exhibitions and weather as the source publishes them, with its gaps."""

from __future__ import annotations

import math
from datetime import date

import numpy as np

from simulator import world
from simulator.entities import published_number
from simulator.races import Exhibition, Number, Weather
from simulator.rates import AnomalyRates
from simulator.world import Floats, Ints, Latents

TILTS, TILT_WEIGHTS = (-0.5, 0, 0.5, 1, 1.5, 2, 3), np.array([0.57, 0.376, 0.04, 0.007, 0.003, 0.002, 0.002])
MIN_WEIGHT_KG = 47.0
MEN_FROM_KG, MIN_WEIGHT_OF_MEN_KG = 49.5, 52.0
WEATHERS, WEATHER_WEIGHTS = (1, 2, 3, 4, 5), np.array([0.70, 0.24, 0.05, 0.009, 0.001])
CALM = 17
# The two stadiums that publish temperatures with decimals.
DECIMAL_VENUES = frozenset({13, 21})
# An absent boat has no weight in 82 of 456 cases, and sometimes still has a course.
UNWEIGHED_RATE, ABSENT_WITH_COURSE_RATE = 82 / 456, 0.1


def exhibitions(
    latents: Latents, base_s: float, course: Ints, weight: Floats, rates: AnomalyRates, rng: np.random.Generator
) -> list[list[Exhibition]]:
    """One exhibition per race and boat. A boat with course 0 is absent and has no lap time."""
    shape = course.shape
    times = world.exhibition_time_s(latents, base_s, rng)
    times = times + (rng.random(shape) < rates.slow_exhibition) * rng.uniform(1.3, 1.9, shape)
    starts = world.exhibition_start_s(latents, rng)
    tilts = rng.choice(np.array(TILTS), shape, p=TILT_WEIGHTS)
    gaps = rng.random((*shape, 2))
    timing_lost, course_lost = gaps[..., 0] < rates.preview_without_timing, gaps[..., 1] < rates.preview_without_course
    columns = zip(course, starts, weight, times, tilts, timing_lost, course_lost, gaps[..., 0], strict=True)
    return [
        [_exhibition(*cell) for cell in zip(*(column.tolist() for column in race), strict=True)] for race in columns
    ]


def _exhibition(
    course: int, start: float, weight: float, time: float, tilt: float, no_timing: bool, no_course: bool, chance: float
) -> Exhibition:
    if course == 0:
        shown = None if chance >= ABSENT_WITH_COURSE_RATE else 6
        measured = 0 if chance > 1 - UNWEIGHED_RATE else published_number(weight, 1)
        return Exhibition(shown, None if shown is None else published_number(start), measured, 0, 0, 0)
    timing = None if no_timing or no_course else published_number(start)
    shown = None if no_course else course
    return Exhibition(
        shown, timing, published_number(weight, 1), _ballast(weight), published_number(time), published_number(tilt)
    )


def _ballast(weight_kg: float) -> Number:
    """The ballast up to the minimum weight, in steps of 0.5 kg."""
    least = MIN_WEIGHT_OF_MEN_KG if weight_kg > MEN_FROM_KG else MIN_WEIGHT_KG
    return published_number(math.ceil(2 * max(0.0, least - round(weight_kg, 1))) / 2)


def draw_weathers(
    day: date, venue: int, wind: Floats, wave: Floats, rates: AnomalyRates, rng: np.random.Generator
) -> tuple[list[Weather], list[Weather]]:
    """The weather of each race as published before it and with its result: two observations of the same weather.

    The wind in a result is 0 if and only if its direction is calm.
    """
    races = len(wind)
    digits = 1 if venue in DECIMAL_VENUES else 0
    season = math.cos(2 * math.pi * (day.timetuple().tm_yday - 30) / 365)
    air, water = 16 - 11 * season + float(rng.normal(0, 2)), 16 - 9 * season + float(rng.normal(0, 1))
    warmth = air + rng.normal(0, 0.7, (2, races)).cumsum(axis=1) * 0.5
    waters = water + rng.normal(0, 0.15, (2, races))
    kind = int(rng.choice(WEATHERS, p=WEATHER_WEIGHTS))
    direction = int(rng.integers(1, 17))
    winds = np.stack([np.maximum(0.0, wind + rng.normal(0, 0.6, races)), wind]).round().astype(np.int64).tolist()
    waves = np.stack([np.maximum(0.0, wave + rng.normal(0, 0.4, races)), wave]).round().astype(np.int64).tolist()
    turns, changes, unknown = rng.random((2, races)), rng.random((2, races)), rng.random(races)
    before_race, with_result = (
        [
            Weather(
                wind=winds[side][i],
                direction=CALM if winds[side][i] == 0 else (direction + _direction_change(turns[side][i])) % 16 + 1,
                wave=waves[side][i],
                weather=kind if changes[side][i] > 0.05 else int(rng.choice(WEATHERS, p=WEATHER_WEIGHTS)),
                temperature=published_number(float(warmth[side][i]), digits),
                water_temperature=published_number(float(waters[side][i]), digits),
            )
            for i in range(races)
        ]
        for side in (0, 1)
    )
    return [
        _without_number(w) if unknown[i] < rates.preview_without_weather_number else w
        for i, w in enumerate(before_race)
    ], with_result


def _direction_change(chance: float) -> int:
    return -1 if chance < 0.12 else int(chance > 0.88)


def _without_number(weather: Weather) -> Weather:
    return Weather(weather.wind, weather.direction, weather.wave, None, weather.temperature, weather.water_temperature)
