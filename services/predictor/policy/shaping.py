"""Potential-based reward shaping: F = gamma * potential(next state) - potential(state), 0 beyond the last.

It cannot change which policy is best (Ng, Harada and Russell, 1999: Policy invariance under reward transformations).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Floats
from services.predictor.policy.environment import Episodes

GROUPS = 12
"""Of equal size in the probability of those that won: some two thousand payouts each in a season of boat racing."""


def shaped(reward: Floats, before: Floats, after: Floats, gamma: float) -> Floats:
    """`before`, `after`: potentials of the state left and of the one reached (0 where that is the end)."""
    return reward + gamma * after - before


@dataclass(frozen=True)
class MeanPayout:
    """What a winner's backers were paid per unit, on average, by how probable the winner was: a step function."""

    edges: Floats
    means: Floats

    def __call__(self, probability: Floats) -> Floats:
        return self.means[np.searchsorted(self.edges, probability)]


def mean_payout(win: Floats, episodes: Episodes) -> MeanPayout:
    """From settled events: `win` (n, S) probabilities. A unit's worth where nothing was ever paid."""
    paid = episodes.counts & (episodes.reward > -1.0)
    if not paid.any():
        return MeanPayout(np.zeros(0), np.ones(1))
    probability, payout = win[paid], episodes.reward[paid] + 1.0
    edges = np.unique(np.quantile(probability, np.arange(1, GROUPS) / GROUPS))
    group = np.searchsorted(edges, probability)
    size = np.bincount(group, minlength=len(edges) + 1)
    total = np.bincount(group, payout, minlength=len(edges) + 1)
    return MeanPayout(edges, np.where(size > 0, total / np.maximum(size, 1), payout.mean()))


def potential(win: Floats, payout: MeanPayout, episodes: Episodes, gamma: float) -> Floats:
    """(n,): expected return of backing the best slot of this event and of all the session's events after it.

    It uses probabilities of later events, which a session's own decisions do not read: a potential may be any function
    of where an episode stands, and this one only speeds up training.
    """
    best = (win * payout(win)).max(axis=1, initial=0.0) - 1.0
    found = np.zeros(len(episodes))
    ahead = np.zeros(len(episodes.grid))
    for at in range(episodes.grid.shape[1] - 1, -1, -1):
        rows = episodes.grid[:, at]
        ahead = np.where(rows >= 0, best[rows] + gamma * ahead, 0.0)
        found[rows[rows >= 0]] = ahead[rows >= 0]
    return found


def following_potential(found: Floats, episodes: Episodes) -> Floats:
    """(n,): the potential of the state that each event's decision leads to; 0 after a session's last."""
    following = episodes.following()
    return np.where(following >= 0, found[following], 0.0)
