"""Online Plackett-Luce rating.

Strength of an entry = entity + entity in this lane + entity at this venue + equipment + lane at all venues + lane at
this venue + a learned weight times the ability on its card.

After each event every component moves along the gradient of the log-likelihood of the first three places (Plackett
1975, Luce 1959): in large steps while it has few starts and in smaller ones later, as in Elo.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints

STAGE_WEIGHTS = (1.0, 0.4, 0.2)
"""Weights of the first, second and third place. Each further place says less about who would have won."""


class StepSchedule(NamedTuple):
    """Step size of a rating: `first` at 0 starts, halfway to `last` after `half_after` starts, then towards `last`."""

    half_after: float
    first: float
    last: float


class Stages(NamedTuple):
    """The first three places as choices, (n, 3, S): `placed` is 1 for the entry that took the place, `mask` is -inf for
    entries already placed. `weight` (n, 3, 1) is 0 for a place that cannot be used."""

    placed: Floats
    mask: Floats
    weight: Floats


def win_probabilities(strength: Floats, present: Bools) -> Floats:
    """(..., S): softmax over the entries present; zero for the others."""
    shifted = np.where(present, strength, -np.inf)
    top = shifted.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted - np.where(np.isfinite(top), top, 0.0))
    total = exponentials[..., 0].copy()
    for slot in range(1, exponentials.shape[-1]):  # in a fixed order: bit-identical for any batch size
        total += exponentials[..., slot]
    probabilities: Floats = exponentials / np.where(total > 0, total, 1.0)[..., None]
    return probabilities


def stages_of(place: Floats, started: Bools) -> Stages:
    """(n, S) -> the choices. From a dead heat or a missing place on, or with one entry left, no places are used."""
    remaining, usable = started.copy(), np.ones(len(place), dtype=np.bool_)
    placed, masks, weight = [], [], []
    for stage, each in enumerate(STAGE_WEIGHTS, start=1):
        here = remaining & (place == stage)
        usable = usable & (here.sum(axis=1) == 1) & (remaining.sum(axis=1) >= 2)
        placed.append(here.astype(np.float64))
        masks.append(np.where(remaining | ~usable[:, None], 0.0, -np.inf))
        weight.append(np.where(usable, each, 0.0)[:, None])
        remaining = remaining & ~(here & usable[:, None])
    return Stages(np.stack(placed, axis=1), np.stack(masks, axis=1), np.stack(weight, axis=1))


def gradient(strength: Floats, placed: Floats, mask: Floats, weight: Floats) -> Floats:
    """(S,): gradient of the log-likelihood of one event's places, by strength. The other arguments are its Stages."""
    masked = strength + mask
    exponentials = np.exp(masked - masked.max(axis=1, keepdims=True))
    total = np.add.accumulate(exponentials, axis=1)[:, -1:]  # in a fixed order, as in `win_probabilities`
    slope: Floats = np.add.reduce(weight * (placed - exponentials / total), axis=0)
    return slope


def step_sizes(starts: Ints | Floats, schedule: StepSchedule) -> Floats:
    """(...): step size of a rating with this many starts."""
    sizes: Floats = schedule.last + (schedule.first - schedule.last) / (1 + starts / schedule.half_after)
    return sizes


def expected_share(strength: Floats, started: Bools) -> Floats:
    """(..., S): expected share of the other starters that an entry beats, pair by pair; NaN if it did not start."""
    total = np.zeros_like(strength)
    for rival in range(strength.shape[-1]):
        wins = 1.0 / (1.0 + np.exp(strength[..., rival : rival + 1] - strength))
        total += wins * started[..., rival : rival + 1]
    rivals = np.maximum(started.sum(axis=-1, keepdims=True) - 1, 1)
    return np.where(started, (total - 0.5) / rivals, np.nan)
