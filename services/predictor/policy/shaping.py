"""Potential-based reward shaping: F = gamma * potential(next state) - potential(state), with potential 0 at the end.

Shaping does not change which policy is optimal (Ng, Harada and Russell, 1999: Policy invariance under reward
transformations).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Floats
from services.predictor.policy.environment import Episodes

GROUPS = 12
"""Bins of equal size in the winner's probability: some two thousand payouts each in a season of boat racing."""


def shape_rewards(reward: Floats, before: Floats, after: Floats, gamma: float) -> Floats:
    """`before`, `after`: potentials of the state and of the next one (0 at the end)."""
    return reward + gamma * after - before


@dataclass(frozen=True)
class MeanPayout:
    """Mean payout per unit as a step function of the winner's probability."""

    edges: Floats
    means: Floats

    def __call__(self, probability: Floats) -> Floats:
        return self.means[np.searchsorted(self.edges, probability)]


def fit_mean_payout(win: Floats, episodes: Episodes) -> MeanPayout:
    """Fits to settled events; `win` (n, S): probabilities. 1 if no event paid a winner."""
    paid = episodes.valid & (episodes.reward > -1.0)
    if not paid.any():
        return MeanPayout(np.zeros(0), np.ones(1))
    probability, payout = win[paid], episodes.reward[paid] + 1.0
    edges = np.unique(np.quantile(probability, np.arange(1, GROUPS) / GROUPS))
    group = np.searchsorted(edges, probability)
    size = np.bincount(group, minlength=len(edges) + 1)
    total = np.bincount(group, payout, minlength=len(edges) + 1)
    return MeanPayout(edges, np.where(size > 0, total / np.maximum(size, 1), payout.mean()))


def session_potentials(win: Floats, payout: MeanPayout, episodes: Episodes, gamma: float) -> Floats:
    """(n,): discounted expected gain of backing the best slot of this event and of all later events of the session.

    It uses the probabilities of later events, which decisions do not see. A potential may be any function of the
    episode's state; this one only speeds up training.
    """
    best = (win * payout(win)).max(axis=1, initial=0.0) - 1.0
    potentials = np.zeros(len(episodes))
    ahead = np.zeros(len(episodes.grid))
    for at in range(episodes.grid.shape[1] - 1, -1, -1):
        rows = episodes.grid[:, at]
        ahead = np.where(rows >= 0, best[rows] + gamma * ahead, 0.0)
        potentials[rows[rows >= 0]] = ahead[rows >= 0]
    return potentials


def next_potentials(potentials: Floats, episodes: Episodes) -> Floats:
    """(n,): potential of the state after each event's decision; 0 after the last event of a session."""
    next_rows = episodes.next_rows()
    return np.where(next_rows >= 0, potentials[next_rows], 0.0)
