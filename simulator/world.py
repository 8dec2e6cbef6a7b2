"""The generative model of a race, which gives the true win probability of each boat.

For boat b of racer i in course l (1..6), at venue v with motor k, in one race:

    utility  u = LANE[l] + venue_lane[v, l] + weather(l)
                 + SKILL s_i + START g_i + TASTE r_il + AFFINITY a_iv + FORM f_i + MOTOR m_vk      (lasting)
                 + CONDITION c_b + START_FORM z_b                                                  (of the race)
    weather(l) = WIND[l] (wind - 2.9 m/s) + WAVE[l] (wave - 2.7 cm)
    order      = Plackett-Luce(u): P(b first) = exp(u_b) / sum of exp(u), then the same over the boats left
    sampling   : the order of u + standard Gumbel noise has exactly this distribution

All latents are standard normal: skill s, start ability g (its correlation with s is 0.5), taste r for a course,
affinity a for a venue, form f (one per meeting), motor m, condition c and start form z (one per race).
Accidents (false starts, capsized boats ...) are drawn after the order and only for boats behind the first, so
`win_probability` is exact for every race that has a winner. An absent boat is excluded from the order.

The observations are noisy measurements of the same latents:

    exhibition time [s]  = base - 0.030 c - 0.018 m - 0.008 s + N(0, 0.030)
    exhibition start [s] = 0.075 + spread (-g) - 0.035 z + N(0, 0.080)
    start timing [s]     = 0.165 + spread (-g) - 0.020 z + N(0, 0.045), never below 0
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LANE = np.array([2.03, 0.20, 0.12, -0.12, -0.66, -1.40])
WIND_EFFECT = np.array(
    [-0.08, 0.02, 0.02, 0.03, 0.03, 0.0]
)  # per m/s: wind from any direction disturbs the inside turn
WAVE_EFFECT = np.array([-0.03, 0.0, 0.0, 0.01, 0.01, 0.0])  # per cm
MEAN_WIND, MEAN_WAVE = 2.9, 2.7

SKILL = 0.70
START = 0.18
TASTE = 0.18
AFFINITY = 0.15
FORM = 0.18
MOTOR = 0.26
CONDITION = 0.32
START_FORM = 0.16
VENUE_LANE = 0.08  # standard deviation between venues in each course

START_MEAN_S, START_SPREAD_S = 0.165, 0.018
# Coefficients of the exhibition time [s] and of the start form in both start timings [s]; then standard deviations.
PACE_CONDITION, PACE_MOTOR, PACE_SKILL = 0.030, 0.018, 0.008
EXHIBITION_START_S, EXHIBITION_STATE_S, TIMING_STATE_S = 0.075, 0.035, 0.020
EXHIBITION_TIME_ERROR_S, EXHIBITION_START_ERROR_S, TIMING_ERROR_S = 0.030, 0.080, 0.045


@dataclass(frozen=True)
class Latents:
    """The hidden variables of races: arrays (races, 6 boats); taste (races, 6 boats, 6 courses)."""

    skill: Floats
    start: Floats
    taste: Floats
    affinity: Floats
    form: Floats
    motor: Floats
    condition: Floats
    start_form: Floats


def lasting_utility(latents: Latents, venue_lane: Floats, course: Ints) -> Floats:
    """The utility without weather and state of the race; minus infinity for course 0 (does not start)."""
    lane = np.maximum(course, 1) - 1
    taste = np.take_along_axis(latents.taste, lane[..., None], axis=2)[..., 0]
    lasting = SKILL * latents.skill + START * latents.start + AFFINITY * latents.affinity
    lasting += FORM * latents.form + MOTOR * latents.motor + TASTE * taste
    return np.asarray(np.where(course > 0, (LANE + venue_lane)[lane] + lasting, -np.inf))


def weather_effect(wind: Floats, wave: Floats) -> Floats:
    """The weather's part of the utility: wind and wave (...) -> (..., 6 courses)."""
    return np.asarray((wind - MEAN_WIND)[..., None] * WIND_EFFECT + (wave - MEAN_WAVE)[..., None] * WAVE_EFFECT)


def utility(latents: Latents, venue_lane: Floats, course: Ints, wind: Floats, wave: Floats) -> Floats:
    """(races, 6); minus infinity for a boat that does not start."""
    lane = np.maximum(course, 1) - 1
    weather = np.take_along_axis(weather_effect(wind, wave), lane, axis=1)
    of_the_race = CONDITION * latents.condition + START_FORM * latents.start_form
    return np.asarray(lasting_utility(latents, venue_lane, course) + weather + of_the_race)


def win_probability(utilities: Floats) -> Floats:
    """Softmax over the last axis."""
    weights = np.exp(utilities - utilities.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def finishing_order(utilities: Floats, rng: np.random.Generator) -> Ints:
    """Indices of the boats, first to last, (races, 6); those that do not start come last."""
    return np.argsort(-(utilities + rng.gumbel(size=utilities.shape)), axis=1, kind="stable")


def draw_weather(rng: np.random.Generator, days: tuple[int, ...], races: int) -> tuple[Floats, Floats]:
    """True wind [m/s] and wave [cm], (*days, races): a mean wind per day, with variation per race."""
    day_wind = rng.gamma(2.9, 1.0, size=(*days, 1))
    wind = np.maximum(0.0, day_wind + rng.normal(0.0, 0.9, size=(*days, races)))
    wave = np.maximum(0.0, 0.93 * wind + rng.normal(0.0, 1.1, size=(*days, races)))
    return wind, wave


def listed_probability(lasting: Floats, rng: np.random.Generator, samples: int = 128) -> Floats:
    """P(win) given only the lasting utility, (races, 6): averaged over samples of weather and state.

    Assumes that all boats start and keep the course of their number.
    """
    wind, wave = draw_weather(rng, (samples,), len(lasting))
    state = rng.normal(0.0, float(np.hypot(CONDITION, START_FORM)), size=(samples, *lasting.shape))
    return np.asarray(win_probability(lasting + state + weather_effect(wind, wave)).mean(axis=0))


def exhibition_time_s(latents: Latents, base_s: float, rng: np.random.Generator) -> Floats:
    pace = PACE_CONDITION * latents.condition + PACE_MOTOR * latents.motor + PACE_SKILL * latents.skill
    return np.asarray(base_s - pace + rng.normal(0.0, EXHIBITION_TIME_ERROR_S, size=pace.shape))


def exhibition_start_s(latents: Latents, rng: np.random.Generator) -> Floats:
    """Seconds after the signal. Negative means an early start, which has no penalty in an exhibition."""
    mean = EXHIBITION_START_S - START_SPREAD_S * latents.start - EXHIBITION_STATE_S * latents.start_form
    return np.asarray(mean + rng.normal(0.0, EXHIBITION_START_ERROR_S, size=mean.shape))


def start_timing_s(latents: Latents, rng: np.random.Generator) -> Floats:
    mean = START_MEAN_S - START_SPREAD_S * latents.start - TIMING_STATE_S * latents.start_form
    return np.asarray(np.maximum(0.0, mean + rng.normal(0.0, TIMING_ERROR_S, size=mean.shape)))
