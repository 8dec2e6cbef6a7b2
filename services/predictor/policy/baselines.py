"""Simple policies that the agent is compared with. Each gives a worth (n, S) per slot; the best slot is backed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Floats
from services.predictor.policy.context import MIN_PROBABILITY, PolicyContext
from services.predictor.policy.environment import Episodes

RIDGE = 3.0


def always_slot(context: PolicyContext, slot: int = 1) -> Floats:
    """The worth of the slot is its probability, so that the most certain events rank first. No other slot is backed."""
    return np.where(np.arange(context.slots) == slot - 1, context.win, -1.0)


def random_worth(context: PolicyContext, rng: np.random.Generator) -> Floats:
    return _mask_empty_slots(context, rng.random(context.win.shape))


def most_probable(context: PolicyContext) -> Floats:
    return _mask_empty_slots(context, context.win)


@dataclass(frozen=True)
class ExpectedPayout:
    """Worth is P(win) times the expected payout, minus one. The log payout is linear in the slot, the probability and
    the features of a winner, fitted to settled events by ridge regression.

    `scale` corrects the mean payout, which the mean of logarithms underestimates.
    """

    mean: Floats
    std: Floats
    weights: Floats
    scale: float

    def __call__(self, context: PolicyContext) -> Floats:
        log_payout = _with_constant((_columns(context) - self.mean) / self.std) @ self.weights
        # The backers of a winner get at least their stake back.
        return _mask_empty_slots(context, context.win * np.maximum(np.exp(log_payout) * self.scale, 1.0) - 1.0)


def fit_expected_payout(context: PolicyContext, episodes: Episodes) -> ExpectedPayout:
    """Fits to settled events that paid a winner. Raises ValueError if there are none."""
    paid = episodes.valid & (episodes.reward > -1.0)
    if not paid.any():
        raise ValueError("no event paid a winner: expected payouts cannot be fitted")
    columns, payout = _columns(context)[paid], episodes.reward[paid] + 1.0
    mean, std = columns.mean(axis=0), np.maximum(columns.std(axis=0), MIN_PROBABILITY)
    design = _with_constant((columns - mean) / std)
    # The penalty applies to all weights but the last, the constant.
    penalty = RIDGE * np.diag(np.r_[np.ones(design.shape[1] - 1), 0.0])
    weights = np.linalg.solve(design.T @ design + penalty, design.T @ np.log(payout))
    scale = payout.mean() / np.exp(design @ weights).mean()
    return ExpectedPayout(mean, std, np.asarray(weights, dtype=np.float64), float(scale))


def _columns(context: PolicyContext) -> Floats:
    """(n, S, K): features, slot, log probability and its square, and log probability by slot."""
    log_win = np.log(np.maximum(context.win, MIN_PROBABILITY))[:, :, None]
    slot = np.broadcast_to(np.eye(context.slots), (len(context), context.slots, context.slots))
    event = np.broadcast_to(context.event[:, None], (len(context), context.slots, context.event.shape[1]))
    return np.concatenate([context.slot, event, slot, log_win**2, log_win * slot], axis=2).astype(np.float64)


def _with_constant(columns: Floats) -> Floats:
    return np.concatenate([columns, np.ones((*columns.shape[:-1], 1))], axis=-1)


def _mask_empty_slots(context: PolicyContext, worth: Floats) -> Floats:
    return np.where(context.occupied, worth, -np.inf)
