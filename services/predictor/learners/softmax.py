"""Softmax over the occupied slots of an event, and the derivatives of the Plackett-Luce loss of its places."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.evaluation.measures import log_loss

PLACE_WEIGHTS = (1.0, 0.4, 0.2)


def softmax(scores: Floats, occupied: Bools | bool = True) -> Floats:
    """(..., S), (..., S) -> (..., S): 0 for empty slots. An event's result does not depend on the other events."""
    masked = np.where(occupied, scores, -np.inf)
    top = masked.max(axis=-1, keepdims=True)
    raised = np.exp(masked - np.where(np.isfinite(top), top, 0.0))
    # Added up slot by slot: the order of numpy's own sums depends on the number of events.
    total = np.add.accumulate(raised, axis=-1)[..., -1:]
    return np.asarray(raised / np.where(total > 0, total, 1.0), dtype=np.float64)


def winner_loss(scores: Floats, occupied: Bools, winner: Ints) -> Floats:
    """(n,) nats."""
    return log_loss(softmax(scores, occupied), winner)


def first_places(places: Floats, winner: Ints) -> Ints:
    """(n, S) places, NaN for unknown -> (n, 3): slot index of the first, second and third; -1 from a dead heat on."""
    order = np.full((len(winner), len(PLACE_WEIGHTS)), -1, dtype=np.int64)
    order[:, 0] = winner
    is_known = winner >= 0
    for place in range(2, len(PLACE_WEIGHTS) + 1):
        here = places == place
        is_known = is_known & (here.sum(axis=1) == 1)
        order[is_known, place - 1] = here[is_known].argmax(axis=1)
    return order


def loss_derivatives(scores: Floats, occupied: Bools, order: Ints) -> tuple[Floats, Floats]:
    """Gradient and diagonal of the Hessian of the Plackett-Luce loss, each (n, S).

    order (n, K): slot index of each place, -1 from the first unknown one on. K = 1 is the softmax loss.
    """
    remaining, rows = occupied.copy(), np.arange(len(scores))
    gradient, curvature = np.zeros(scores.shape), np.zeros(scores.shape)
    for stage, weight in zip(range(order.shape[1]), PLACE_WEIGHTS, strict=False):
        chosen = order[:, stage]
        is_known = chosen >= 0
        probabilities = softmax(scores, remaining) * is_known[:, None]
        curvature += weight * probabilities * (1 - probabilities)
        gradient += weight * probabilities
        gradient[rows[is_known], chosen[is_known]] -= weight
        remaining[rows[is_known], chosen[is_known]] = False
    return gradient, curvature
