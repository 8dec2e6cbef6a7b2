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
MAX_STEPS, TOLERANCE = 30, 1e-10
BLOCK_EVENTS = 4096


@dataclass(frozen=True)
class Logit:
    """`columns`: the features read. `weights`: one per column, then one per slot. `penalty`: the one selected."""

    columns: Ints
    weights: Floats
    penalty: float

    def scores(self, entry: Floats32, occupied: Bools) -> Floats:
        """(n, S, F) -> (n, S)"""
        parts = [_design(entry[block], self.columns) @ self.weights for block in _blocks(len(entry))]
        return np.concatenate(parts) if parts else np.zeros(occupied.shape)

    def probabilities(self, entry: Floats32, occupied: Bools) -> Floats:
        """(n, S), rows sum to 1."""
        return softmax(self.scores(entry, occupied), occupied)


def fit_logit(data: ChoiceData, columns: Ints, penalties: Sequence[float] = PENALTIES) -> Logit:
    """Minimises the penalised loss on the training rows, with the penalty that is best on the validation rows.

    Events without a winner are skipped. Deterministic: the loss has a single minimum.
    """
    validation = data.validation_with_winner
    entry, occupied, winner = data.entry[validation], data.occupied[validation], data.winner[validation]
    weights = np.zeros(len(columns) + occupied.shape[1])
    candidates: list[tuple[float, Logit]] = []
    for penalty in sorted(penalties, reverse=True):
        weights = _minimize(data, columns, weights, penalty)
        logit = Logit(columns, weights, penalty)
        losses = winner_loss(logit.scores(entry, occupied), occupied, winner)
        candidates.append((float(losses.mean()), logit))
    return min(candidates, key=lambda each: each[0])[1]


def _minimize(data: ChoiceData, columns: Ints, weights: Floats, penalty: float) -> Floats:
    rows = data.training_with_winner
    loss, gradient, curvature = _loss_derivatives(data, columns, rows, weights, penalty)
    for _ in range(MAX_STEPS):
        step, length = np.linalg.solve(curvature, gradient), 1.0
        decrement = float(gradient @ step)
        if decrement < TOLERANCE * len(rows):
            break
        while True:
            trial = weights - length * step
            after = _loss_derivatives(data, columns, rows, trial, penalty)
            if after[0] <= loss or length < TOLERANCE:
                break
            length /= 2
        weights, (loss, gradient, curvature) = trial, after
    return weights


def _loss_derivatives(
    data: ChoiceData, columns: Ints, rows: Ints, weights: Floats, penalty: float
) -> tuple[float, Floats, Floats]:
    """Penalised loss, its gradient and its Hessian, summed over the events."""
    loss = penalty / 2 * float(weights @ weights)
    gradient, curvature = penalty * weights, penalty * np.eye(len(weights))
    for block in _blocks(len(rows)):
        part = rows[block]
        design = _design(data.entry[part], columns)
        probabilities, winner = softmax(design @ weights, data.occupied[part]), data.winner[part]
        centred = design - np.einsum("ns,nsf->nf", probabilities, design)[:, None]
        # float32: the Hessian only affects the number of steps, the gradient where they end.
        weighted = (centred * np.sqrt(probabilities)[:, :, None]).astype(np.float32).reshape(-1, len(weights))
        curvature += weighted.T @ weighted
        loss += float(log_loss(probabilities, winner).sum())
        gradient -= centred[np.arange(len(part)), winner].sum(axis=0)
    return loss, gradient, curvature


def _design(entry: Floats32, columns: Ints) -> Floats:
    """(n, S, F) -> (n, S, columns + S): the features read, then a one-hot slot."""
    slots = np.broadcast_to(np.eye(entry.shape[1]), (len(entry), entry.shape[1], entry.shape[1]))
    return np.concatenate([entry[:, :, columns].astype(np.float64), slots], axis=2)


def _blocks(events: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK_EVENTS) for start in range(0, events, BLOCK_EVENTS))
