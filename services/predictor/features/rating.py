"""An online Plackett-Luce rating.

Strength of an entry = entity + entity in this lane + entity at this venue + equipment + lane everywhere + lane at the
venue + a weight, learned likewise, times what its card says of its ability.

After each event every part moves along the gradient of the log-likelihood of the first three places (Plackett 1975,
Luce 1959), fast while little is known of it and slower later, as Elo does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints

STAGES = (1.0, 0.4, 0.2)
"""How much the first, second and third place say. Each further one tells less of who would have won."""


class Pace(NamedTuple):
    """How fast a rating moves: `first` at the start, half as far from `last` after so many starts."""

    half_after: float
    first: float
    last: float


class Stages(NamedTuple):
    """Who takes a place from whom, (n, 3, S): `took` 1 for who came in there, `out` -inf for who was gone by then.
    `weight` (n, 3, 1), 0 for a place of which nothing can be said."""

    took: Floats
    out: Floats
    weight: Floats


def chances(strength: Floats, present: Bools) -> Floats:
    """(..., S): softmax over those present; zero for the others."""
    shifted = np.where(present, strength, -np.inf)
    top = shifted.max(axis=-1, keepdims=True)
    grown = np.exp(shifted - np.where(np.isfinite(top), top, 0.0))
    total = grown[..., 0].copy()
    for slot in range(1, grown.shape[-1]):  # one by one: the same bits whatever is beside
        total += grown[..., slot]
    found: Floats = grown / np.where(total > 0, total, 1.0)[..., None]
    return found


def stages_of(place: Floats, started: Bools) -> Stages:
    """(n, S) -> who took which place; ends at a dead heat, where a place is missing and where one is left alone."""
    left, going = started.copy(), np.ones(len(place), dtype=np.bool_)
    took, gone, weight = [], [], []
    for stage, each in enumerate(STAGES, start=1):
        here = left & (place == stage)
        going = going & (here.sum(axis=1) == 1) & (left.sum(axis=1) >= 2)
        took.append(here.astype(np.float64))
        gone.append(np.where(left | ~going[:, None], 0.0, -np.inf))
        weight.append(np.where(going, each, 0.0)[:, None])
        left = left & ~(here & going[:, None])
    return Stages(np.stack(took, axis=1), np.stack(gone, axis=1), np.stack(weight, axis=1))


def gradient(strength: Floats, took: Floats, out: Floats, weight: Floats) -> Floats:
    """(S,) of one event, with its Stages: of the log-likelihood of its places by the entries' strengths."""
    left = strength + out
    grown = np.exp(left - left.max(axis=1, keepdims=True))
    total = np.add.accumulate(grown, axis=1)[:, -1:]  # one by one, as in `chances`
    found: Floats = np.add.reduce(weight * (took - grown / total), axis=0)
    return found


def steps(starts: Ints | Floats, pace: Pace) -> Floats:
    """(...): how far a rating with so many starts goes along its gradient."""
    found: Floats = pace.last + (pace.first - pace.last) / (1 + starts / pace.half_after)
    return found


def expected_share(strength: Floats, started: Bools) -> Floats:
    """(..., S): share of the other starters that an entry beats, if pairs were drawn one by one; NaN: did not start."""
    total = np.zeros_like(strength)
    for rival in range(strength.shape[-1]):
        wins = 1.0 / (1.0 + np.exp(strength[..., rival : rival + 1] - strength))
        total += wins * started[..., rival : rival + 1]
    rivals = np.maximum(started.sum(axis=-1, keepdims=True) - 1, 1)
    return np.where(started, (total - 0.5) / rivals, np.nan)
