from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.data.events import Floats
from services.predictor.policy.shaping import fit_mean_payout, next_potentials, session_potentials, shape_rewards
from tests.services.predictor.policy.world import world

GAMMAS = st.sampled_from([0.0, 0.5, 0.9, 1.0])


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), gamma=GAMMAS)
def test_shaping_changes_the_return_of_an_episode_only_by_its_first_potential(seed: int, gamma: float) -> None:
    episodes = world(4, seed=seed).episodes
    rng = np.random.default_rng(seed)
    potential = rng.normal(size=len(episodes))
    reward = rng.normal(size=len(episodes))

    shaped = shape_rewards(reward, potential, next_potentials(potential, episodes), gamma)

    for rows in episodes.grid:
        discount = gamma ** np.arange(len(rows))
        assert (discount * (shaped - reward)[rows]).sum() == pytest.approx(-potential[rows[0]], abs=1e-9)


@settings(max_examples=60)
@given(seed=st.integers(0, 100_000), gamma=st.sampled_from([0.0, 0.5, 0.9]))
def test_shaping_shifts_values_by_the_potential_and_keeps_the_best_action(seed: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    states, actions = 6, 3
    transition = rng.dirichlet(np.ones(states), (states, actions))
    transition[-1] = np.eye(states)[-1]  # the last state is terminal: no transition leaves it and it gives no reward
    reward = rng.normal(size=(states, actions, states))
    reward[-1] = 0.0
    potential = rng.normal(size=states) * 10.0
    potential[-1] = 0.0

    plain = solve(transition, reward, gamma)
    other = solve(transition, shape_rewards(reward, potential[:, None, None], potential[None, None, :], gamma), gamma)

    np.testing.assert_allclose(other, plain - potential[:, None], atol=1e-6)
    np.testing.assert_array_equal(other[:-1].argmax(axis=1), plain[:-1].argmax(axis=1))


def solve(transition: Floats, reward: Floats, gamma: float) -> Floats:
    """Action values (states, actions) by value iteration, until it has converged."""
    values = np.zeros(transition.shape[:2])
    for _ in range(400):
        values = (transition * (reward + gamma * values.max(axis=1)[None, None, :])).sum(axis=2)
    return values


def test_the_potential_of_a_session_is_the_expected_gain_of_its_best_slots() -> None:
    data = world(300, seed=2)
    episodes, win = data.episodes, data.probabilities.win
    payout = fit_mean_payout(win, episodes)

    potentials = session_potentials(win, payout, episodes, gamma=0.9)

    best = (win * payout(win)).max(axis=1) - 1.0
    rows = episodes.grid[7]
    assert potentials[rows[0]] == pytest.approx((0.9 ** np.arange(len(rows)) * best[rows]).sum())
    assert potentials[rows[-1]] == pytest.approx(best[rows[-1]])
    assert next_potentials(potentials, episodes)[rows[-1]] == 0.0


def test_mean_payouts_fall_as_the_winner_was_more_probable() -> None:
    data = world(300, seed=2)

    mean_payout = fit_mean_payout(data.probabilities.win, data.episodes)

    assert mean_payout(np.array([0.05]))[0] > mean_payout(np.array([0.3]))[0] > mean_payout(np.array([0.9]))[0] >= 1.0


def test_without_payouts_the_mean_payout_is_the_stake() -> None:
    data = world(2, seed=2)
    episodes = data.episodes
    episodes.valid[:] = False

    assert fit_mean_payout(data.probabilities.win, episodes)(np.array([0.1, 0.9])).tolist() == [1.0, 1.0]
