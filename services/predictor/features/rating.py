"""An online Plackett-Luce rating. Pure.

Strength of an entry = entity + entity in this lane + entity at this venue + equipment + lane everywhere + lane at the
venue + a weight, learned likewise, times what its card says of its ability.

After each event every part moves along the gradient of the log-likelihood of the first three places (Plackett 1975,
Luce 1959), fast while little is known of it and slower later, as Elo does.
"""

from __future__ import annotations

import numpy as np

from services.predictor.facts import Bools, Floats

STAGES = (1.0, 0.4, 0.2)
"""How much the first, second and third place say. Each further one tells less of who would have won."""


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


def gradient(strength: Floats, place: Floats, started: Bools) -> Floats:
    """(S,): of the log-likelihood of the places by strength; ends at a dead heat or where a place is missing."""
    found = np.zeros(len(strength))
    left = started.copy()
    for stage, weight in enumerate(STAGES, start=1):
        here = left & (place == stage)
        if here.sum() != 1 or left.sum() < 2:
            break
        found += weight * (here - chances(strength, left))
        left &= ~here
    return found


def expected_share(strength: Floats, started: Bools) -> Floats:
    """(S,): share of the other starters that an entry beats, if pairs were drawn one by one."""
    wins = 1.0 / (1.0 + np.exp(strength[None, :] - strength[:, None]))
    rivals = max(int(started.sum()) - 1, 1)
    return np.where(started, ((wins * started[None, :]).sum(axis=1) - 0.5) / rivals, np.nan)
