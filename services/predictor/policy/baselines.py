"""Simple policies that the agent is compared with. Each gives a worth (n, S) per slot; the best slot is backed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Floats
from services.predictor.policy.context import LEAST, Scene
from services.predictor.policy.environment import Episodes

RIDGE = 3.0


def always_slot(scene: Scene, slot: int = 1) -> Floats:
    """The worth of the slot is its probability, so that the most certain events rank first. No other slot is backed."""
    return np.where(np.arange(scene.slots) == slot - 1, scene.win, -1.0)


def at_random(scene: Scene, rng: np.random.Generator) -> Floats:
    return _there(scene, rng.random(scene.win.shape))


def most_probable(scene: Scene) -> Floats:
    return _there(scene, scene.win)


@dataclass(frozen=True)
class ExpectedPayout:
    """Worth is P(win) times the expected payout, minus one. The log payout is linear in the slot, the probability and
    the features of a winner, fitted to settled events by ridge regression.

    `scale` corrects the mean payout, which the mean of logarithms underestimates.
    """

    mean: Floats
    spread: Floats
    weights: Floats
    scale: float

    def __call__(self, scene: Scene) -> Floats:
        logs = _with_one((_columns(scene) - self.mean) / self.spread) @ self.weights
        # The backers of a winner get at least their stake back.
        return _there(scene, scene.win * np.maximum(np.exp(logs) * self.scale, 1.0) - 1.0)


def expected_payout(scene: Scene, episodes: Episodes) -> ExpectedPayout:
    """Fits to settled events that paid a winner. Raises ValueError if there are none."""
    paid = episodes.counts & (episodes.reward > -1.0)
    if not paid.any():
        raise ValueError("no event paid a winner: expected payouts cannot be fitted")
    columns, payout = _columns(scene)[paid], episodes.reward[paid] + 1.0
    mean, spread = columns.mean(axis=0), np.maximum(columns.std(axis=0), LEAST)
    design = _with_one((columns - mean) / spread)
    # The penalty applies to all weights but the last, the constant.
    pull = RIDGE * np.diag(np.r_[np.ones(design.shape[1] - 1), 0.0])
    weights = np.linalg.solve(design.T @ design + pull, design.T @ np.log(payout))
    scale = payout.mean() / np.exp(design @ weights).mean()
    return ExpectedPayout(mean, spread, np.asarray(weights, dtype=np.float64), float(scale))


def _columns(scene: Scene) -> Floats:
    """(n, S, K): features, slot, log probability and its square, and log probability by slot."""
    log_win = np.log(np.maximum(scene.win, LEAST))[:, :, None]
    slot = np.broadcast_to(np.eye(scene.slots), (len(scene), scene.slots, scene.slots))
    event = np.broadcast_to(scene.event[:, None], (len(scene), scene.slots, scene.event.shape[1]))
    return np.concatenate([scene.slot, event, slot, log_win**2, log_win * slot], axis=2).astype(np.float64)


def _with_one(columns: Floats) -> Floats:
    return np.concatenate([columns, np.ones((*columns.shape[:-1], 1))], axis=-1)


def _there(scene: Scene, worth: Floats) -> Floats:
    return np.where(scene.taken, worth, -np.inf)
