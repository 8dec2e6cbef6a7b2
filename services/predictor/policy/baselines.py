"""Simple policies to be measured against. Each gives a worth (n, S) per slot; the best slot is backed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Floats
from services.predictor.policy.context import LEAST, Scene
from services.predictor.policy.environment import Episodes

RIDGE = 3.0


def always_slot(scene: Scene, slot: int = 1) -> Floats:
    """The worth of that slot is its probability, so that the surest events come first; no other slot is backed."""
    return np.where(np.arange(scene.slots) == slot - 1, scene.win, -1.0)


def at_random(scene: Scene, rng: np.random.Generator) -> Floats:
    return _there(scene, rng.random(scene.win.shape))


def most_probable(scene: Scene) -> Floats:
    return _there(scene, scene.win)


@dataclass(frozen=True)
class ExpectedPayout:
    """Probability times expected payment less one: the payment's logarithm is linear in what a winner's slot, its
    probability and its features say, learned from settled events by ridge regression.

    `scale` makes the payments' mean right, which the mean of logarithms underestimates.
    """

    mean: Floats
    spread: Floats
    weights: Floats
    scale: float

    def __call__(self, scene: Scene) -> Floats:
        logs = _with_one((_columns(scene) - self.mean) / self.spread) @ self.weights
        # A winner's backers get their unit back at least.
        return _there(scene, scene.win * np.maximum(np.exp(logs) * self.scale, 1.0) - 1.0)


def expected_payout(scene: Scene, episodes: Episodes) -> ExpectedPayout:
    """From settled events that paid a winner; raises ValueError where there are none."""
    paid = episodes.counts & (episodes.reward > -1.0)
    if not paid.any():
        raise ValueError("no event paid a winner: nothing to learn payments from")
    columns, payout = _columns(scene)[paid], episodes.reward[paid] + 1.0
    mean, spread = columns.mean(axis=0), np.maximum(columns.std(axis=0), LEAST)
    design = _with_one((columns - mean) / spread)
    # All but the last, the constant, are drawn to zero.
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
