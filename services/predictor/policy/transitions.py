"""Builds transitions from settled history.

History gives the reward of every action, not only of the one taken, so every event of a played session yields one
transition per action.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.policy.environment import ABSTAIN, Episodes, SessionState
from services.predictor.policy.replay_buffer import Transitions
from services.predictor.policy.shaping import next_potentials, shape_rewards


def transitions_of(
    episodes: Episodes, actions: Ints, before: SessionState, potential: Floats, gamma: float
) -> Transitions:
    """Transitions of all actions of all events, in sessions played with `actions`. Stakes that do not count are left
    out: they say nothing about the return. Rewards are shaped by `potential` (n,)."""
    allowed = np.concatenate([np.ones((len(episodes), 1), dtype=np.bool_), episodes.valid], axis=1)
    rows, options = np.nonzero(allowed)
    reward = np.where(options == ABSTAIN, 0.0, _of_slot(episodes.reward, rows, options))
    next_potential = next_potentials(potential, episodes)
    return Transitions(
        row=rows,
        before=before.matrix()[rows],
        action=options,
        reward=shape_rewards(reward, potential[rows], next_potential[rows], gamma),
        following=episodes.next_rows()[rows],
        after=_states_after(episodes, actions, before, rows, options),
    )


def clip_payouts(episodes: Episodes, quantile: float) -> Episodes:
    """Clips payouts at this quantile of all winners' payouts."""
    paid = episodes.reward[winners(episodes)]
    if not len(paid):
        return episodes
    return replace(episodes, reward=np.minimum(episodes.reward, np.quantile(paid, quantile)))


def winners(episodes: Episodes) -> Bools:
    """(n, S): backing this slot paid."""
    return np.asarray(episodes.valid & (episodes.reward > -1.0), dtype=np.bool_)


def _states_after(episodes: Episodes, actions: Ints, before: SessionState, rows: Ints, options: Ints) -> Floats:
    """(m, 3): session state at the decision after `rows`, if `options` are taken there and `actions` before.

    It is the state with the action that was played, minus that action's part, plus the option's.
    """
    following = np.maximum(episodes.next_rows()[rows], 0)
    states = before.matrix()[following]
    known = episodes.settled_us[rows] <= episodes.as_of_us[following]
    length = episodes.length()[rows]
    for sign, chosen in ((1.0, options), (-1.0, actions[rows])):
        refunded = known & ~_of_slot(episodes.valid, rows, chosen).astype(np.bool_)
        states[:, 1] += sign * ((chosen != ABSTAIN) & ~refunded) / length
        states[:, 2] += (
            sign * np.where(known & (chosen != ABSTAIN), _of_slot(episodes.reward, rows, chosen), 0.0) / length
        )
    return states


def _of_slot(values: Floats | Bools, rows: Ints, actions: Ints) -> Floats:
    return np.asarray(values[rows, np.maximum(actions - 1, 0)], dtype=np.float64)
