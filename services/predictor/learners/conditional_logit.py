"""Conditional logit (McFadden 1974), fitted by Newton's method: one weight per feature and one constant per slot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Bools, Floats, Floats32, Ints
from services.predictor.evaluation.measures import log_loss
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.softmax import softmax, winner_loss

# L2 penalties to try, in units of one event: a weight of 1 on a standardised feature costs half the penalty.
PENALTIES = (30.0, 300.0, 3000.0)
MOST_STEPS, CLOSE_ENOUGH = 30, 1e-10
BLOCK_EVENTS = 4096


@dataclass(frozen=True)
class Logit:
    """`columns`: the features read. `weights`: one per column, then one per slot. `penalty`: the one selected."""

    columns: Ints
    weights: Floats
    penalty: float

    def scores(self, entry: Floats32, taken: Bools) -> Floats:
        """(n, S, F) -> (n, S)"""
        parts = [_design(entry[block], self.columns) @ self.weights for block in _blocks(len(entry))]
        return np.concatenate(parts) if parts else np.zeros(taken.shape)

    def probabilities(self, entry: Floats32, taken: Bools) -> Floats:
        """(n, S), rows sum to 1."""
        return softmax(self.scores(entry, taken), taken)


def fit_logit(data: ChoiceData, columns: Ints, penalties: Sequence[float] = PENALTIES) -> Logit:
    """Minimises the penalised loss on the training rows, with the penalty that is best on the validation rows.

    Events without a winner are skipped. Deterministic: the loss has a single minimum.
    """
    judged = data.won_validation
    entry, taken, winner = data.entry[judged], data.taken[judged], data.winner[judged]
    weights = np.zeros(len(columns) + taken.shape[1])
    found: list[tuple[float, Logit]] = []
    for penalty in sorted(penalties, reverse=True):
        weights = _minimum(data, columns, weights, penalty)
        logit = Logit(columns, weights, penalty)
        losses = winner_loss(logit.scores(entry, taken), taken, winner)
        found.append((float(losses.mean()), logit))
    return min(found, key=lambda each: each[0])[1]


def _minimum(data: ChoiceData, columns: Ints, weights: Floats, penalty: float) -> Floats:
    rows = data.won_training
    loss, gradient, curvature = _sums(data, columns, rows, weights, penalty)
    for _ in range(MOST_STEPS):
        step, length = np.linalg.solve(curvature, gradient), 1.0
        promised = float(gradient @ step)
        if promised < CLOSE_ENOUGH * len(rows):
            break
        while True:
            tried = weights - length * step
            after = _sums(data, columns, rows, tried, penalty)
            if after[0] <= loss or length < CLOSE_ENOUGH:
                break
            length /= 2
        weights, (loss, gradient, curvature) = tried, after
    return weights


def _sums(data: ChoiceData, columns: Ints, rows: Ints, weights: Floats, penalty: float) -> tuple[float, Floats, Floats]:
    """Penalised loss, its gradient and its Hessian, summed over the events."""
    loss = penalty / 2 * float(weights @ weights)
    gradient, curvature = penalty * weights, penalty * np.eye(len(weights))
    for block in _blocks(len(rows)):
        part = rows[block]
        design = _design(data.entry[part], columns)
        told, winner = softmax(design @ weights, data.taken[part]), data.winner[part]
        apart = design - np.einsum("ns,nsf->nf", told, design)[:, None]
        # float32: the Hessian only affects the number of steps, the gradient where they end.
        flat = (apart * np.sqrt(told)[:, :, None]).astype(np.float32).reshape(-1, len(weights))
        curvature += flat.T @ flat
        loss += float(log_loss(told, winner).sum())
        gradient -= apart[np.arange(len(part)), winner].sum(axis=0)
    return loss, gradient, curvature


def _design(entry: Floats32, columns: Ints) -> Floats:
    """(n, S, F) -> (n, S, columns + S): the features read, then a one-hot slot."""
    slots = np.broadcast_to(np.eye(entry.shape[1]), (len(entry), entry.shape[1], entry.shape[1]))
    return np.concatenate([entry[:, :, columns].astype(np.float64), slots], axis=2)


def _blocks(events: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK_EVENTS) for start in range(0, events, BLOCK_EVENTS))
