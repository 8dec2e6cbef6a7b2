"""Builds transitions from settled history.

History gives the reward of every action, not only of the one taken, so every event of a played session yields one
transition per action.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.policy.environment import ABSTAIN, Episodes, SoFar
from services.predictor.policy.replay_buffer import Transitions
from services.predictor.policy.shaping import following_potential, shaped


def transitions_of(episodes: Episodes, actions: Ints, before: SoFar, potential: Floats, gamma: float) -> Transitions:
    """Transitions of all actions of all events, in sessions played with `actions`. Stakes that do not count are left
    out: they say nothing about the return. Rewards are shaped by `potential` (n,)."""
    can = np.concatenate([np.ones((len(episodes), 1), dtype=np.bool_), episodes.counts], axis=1)
    rows, options = np.nonzero(can)
    reward = np.where(options == ABSTAIN, 0.0, _of_slot(episodes.reward, rows, options))
    ahead = following_potential(potential, episodes)
    return Transitions(
        row=rows,
        before=before.matrix()[rows],
        action=options,
        reward=shaped(reward, potential[rows], ahead[rows], gamma),
        following=episodes.following()[rows],
        after=_after(episodes, actions, before, rows, options),
    )


def clipped(episodes: Episodes, quantile: float) -> Episodes:
    """Clips payouts at this quantile of all winners' payouts."""
    paid = episodes.reward[winners(episodes)]
    if not len(paid):
        return episodes
    return replace(episodes, reward=np.minimum(episodes.reward, np.quantile(paid, quantile)))


def winners(episodes: Episodes) -> Bools:
    """(n, S): backing this slot paid."""
    return np.asarray(episodes.counts & (episodes.reward > -1.0), dtype=np.bool_)


def _after(episodes: Episodes, actions: Ints, before: SoFar, rows: Ints, options: Ints) -> Floats:
    """(m, 3): session state at the decision after `rows`, if `options` are taken there and `actions` before.

    It is the state with the action that was played, minus that action's part, plus the option's.
    """
    following = np.maximum(episodes.following()[rows], 0)
    found = before.matrix()[following]
    known = episodes.settled_us[rows] <= episodes.as_of_us[following]
    length = episodes.length()[rows]
    for sign, taken in ((1.0, options), (-1.0, actions[rows])):
        given_back = known & ~_of_slot(episodes.counts, rows, taken).astype(np.bool_)
        found[:, 1] += sign * ((taken != ABSTAIN) & ~given_back) / length
        found[:, 2] += sign * np.where(known & (taken != ABSTAIN), _of_slot(episodes.reward, rows, taken), 0.0) / length
    return found


def _of_slot(values: Floats | Bools, rows: Ints, actions: Ints) -> Floats:
    return np.asarray(values[rows, np.maximum(actions - 1, 0)], dtype=np.float64)
