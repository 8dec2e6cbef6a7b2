"""How good probabilities were, in nats, and what always telling the base rate would have got. Pure."""

from __future__ import annotations

import numpy as np

from services.predictor.facts import Floats
from services.predictor.features import Bools
from services.predictor.history import Ints
from services.predictor.targets import Targets

# A probability of zero for what happened would be infinitely wrong; this is as wrong as it gets (34.5 nats).
LEAST = 1e-15
ECE_BINS = 15


def log_loss(probabilities: Floats, happened: Ints) -> Floats:
    """(n, K), (n,) class index -> (n,) nats."""
    return -np.log(np.maximum(probabilities[np.arange(len(happened)), happened], LEAST))


def expected_calibration_error(probabilities: Floats, happened: Bools) -> float:
    """(m,), (m,): mean distance of what was said from what came, over 15 equal bins, weighted by their size."""
    bins = np.minimum((probabilities * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    said = np.bincount(bins, probabilities, ECE_BINS)
    came = np.bincount(bins, happened.astype(np.float64), ECE_BINS)
    return float(np.abs(said - came).sum() / len(probabilities))


def top3_loss(told: Floats, targets: Targets, taken: Bools, before: Targets) -> dict[str, float]:
    """Mean over taken slots, and of the share with which each slot came in the first three before."""
    came = (targets.places >= 1) & (targets.places <= 3)
    share = ((before.places >= 1) & (before.places <= 3)).mean(axis=0)
    base = np.broadcast_to(share, came.shape)
    return {"": _two_way(told[taken], came[taken]), "_base": _two_way(base[taken], came[taken])}


def trend_loss(told: Floats, targets: Targets, before: Targets) -> dict[str, float]:
    return _classes(told, targets.trend, before.trend)


def behaviour_loss(told: Floats, targets: Targets, before: Targets) -> dict[str, float]:
    return _classes(told.reshape(-1, told.shape[-1]), targets.behaviour.ravel(), before.behaviour.ravel())


def _two_way(probability: Floats, came: Bools) -> float:
    return float(-np.log(np.maximum(np.where(came, probability, 1 - probability), LEAST)).mean())


def _classes(told: Floats, targets: Ints, before: Ints) -> dict[str, float]:
    """Over the known ones; nothing where none is known."""
    known = targets >= 0
    if not known.any() or not (before >= 0).any():
        return {}
    share = np.bincount(before[before >= 0], minlength=told.shape[1]) / (before >= 0).sum()
    base = np.broadcast_to(share, told[known].shape)
    return {
        "": float(log_loss(told[known], targets[known]).mean()),
        "_base": float(log_loss(base, targets[known]).mean()),
    }
