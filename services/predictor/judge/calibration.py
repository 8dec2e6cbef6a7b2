"""One factor for all scores and one bias per slot, so that what a model calls 30 % happens three times in ten. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.predictor.facts import Bools, Floats, Ints
from services.predictor.references.softmax import softmax

# How far calibration may lean away from "change nothing", as standard deviations: with a few hundred events to fit
# on, seven free numbers would learn the noise.
FACTOR_SPREAD, BIAS_SPREAD = 0.06, 0.04
STEPS, SMALL = 30, 1e-10


class Scaling(NamedTuple):
    """Scores become score * `factor` + `slot_bias`; a factor of 1 / temperature."""

    factor: float
    slot_bias: tuple[float, ...]

    def scores(self, scores: Floats) -> Floats:
        """(n, S) -> (n, S)"""
        return scores * self.factor + np.asarray(self.slot_bias, dtype=np.float64)


def calibrate(scores: Floats, taken: Bools, winner: Ints, weight: float = 1.0) -> Scaling:
    """(n, S), (n, S), (n,) slot index: the most probable scaling under a normal prior, by Newton's method.

    `weight` is below 1 where an event appears more than once: it is one outcome all the same.
    """
    count, slots = scores.shape
    known = np.where(taken, scores, 0.0)
    # Only differences within an event count; centred, the factor and the biases hardly disturb each other.
    known = np.where(
        taken, known - known.sum(axis=1, keepdims=True) / np.maximum(taken.sum(axis=1, keepdims=True), 1), 0
    )
    design = np.concatenate([known[:, :, None], np.broadcast_to(np.eye(slots), (count, slots, slots))], axis=2)
    outset = np.array([1.0, *np.zeros(slots)])
    precision = np.array([FACTOR_SPREAD**-2, *np.full(slots, BIAS_SPREAD**-2)])
    found = outset
    for _ in range(STEPS):
        told = softmax(design @ found, taken)
        apart = design - np.einsum("ns,nsf->nf", told, design)[:, None]
        flat = (apart * np.sqrt(weight * told)[:, :, None]).reshape(-1, slots + 1)
        gradient = precision * (found - outset) - weight * apart[np.arange(count), winner].sum(axis=0)
        step = np.linalg.solve(flat.T @ flat + np.diag(precision), gradient)
        found = found - step
        if np.abs(step).max() < SMALL:
            break
    return Scaling(float(found[0]), tuple(found[1:].tolist()))
