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
def test_shaping_adds_to_an_episode_only_what_its_start_was_thought_worth(seed: int, gamma: float) -> None:
    episodes = world(4, seed=seed).episodes
    rng = np.random.default_rng(seed)
    thought = rng.normal(size=len(episodes))
    reward = rng.normal(size=len(episodes))

    found = shape_rewards(reward, thought, next_potentials(thought, episodes), gamma)

    for rows in episodes.grid:
        discount = gamma ** np.arange(len(rows))
        assert (discount * (found - reward)[rows]).sum() == pytest.approx(-thought[rows[0]], abs=1e-9)


@settings(max_examples=60)
@given(seed=st.integers(0, 100_000), gamma=st.sampled_from([0.0, 0.5, 0.9]))
def test_shaping_changes_no_value_but_by_the_potential_and_no_best_action(seed: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    states, actions = 6, 3
    chance = rng.dirichlet(np.ones(states), (states, actions))
    chance[-1] = np.eye(states)[-1]  # the last state is the end: nothing leads out of it and nothing is brought there
    reward = rng.normal(size=(states, actions, states))
    reward[-1] = 0.0
    thought = rng.normal(size=states) * 10.0
    thought[-1] = 0.0

    plain = solved(chance, reward, gamma)
    other = solved(chance, shape_rewards(reward, thought[:, None, None], thought[None, None, :], gamma), gamma)

    np.testing.assert_allclose(other, plain - thought[:, None], atol=1e-6)
    np.testing.assert_array_equal(other[:-1].argmax(axis=1), plain[:-1].argmax(axis=1))


def solved(chance: Floats, reward: Floats, gamma: float) -> Floats:
    """Action values (states, actions) by value iteration, to the last digit that counts."""
    values = np.zeros(chance.shape[:2])
    for _ in range(400):
        values = (chance * (reward + gamma * values.max(axis=1)[None, None, :])).sum(axis=2)
    return values


def test_the_potential_of_a_session_is_what_backing_its_best_slots_should_bring() -> None:
    made = world(300, seed=2)
    episodes, win = made.episodes, made.told.win
    payout = fit_mean_payout(win, episodes)

    found = session_potentials(win, payout, episodes, gamma=0.9)

    best = (win * payout(win)).max(axis=1) - 1.0
    rows = episodes.grid[7]
    assert found[rows[0]] == pytest.approx((0.9 ** np.arange(len(rows)) * best[rows]).sum())
    assert found[rows[-1]] == pytest.approx(best[rows[-1]])
    assert next_potentials(found, episodes)[rows[-1]] == 0.0


def test_mean_payouts_fall_as_the_winner_was_more_probable() -> None:
    made = world(300, seed=2)

    found = fit_mean_payout(made.told.win, made.episodes)

    assert found(np.array([0.05]))[0] > found(np.array([0.3]))[0] > found(np.array([0.9]))[0] >= 1.0


def test_without_any_payment_a_winner_is_thought_to_get_its_unit_back() -> None:
    made = world(2, seed=2)
    episodes = made.episodes
    episodes.valid[:] = False

    assert fit_mean_payout(made.told.win, episodes)(np.array([0.1, 0.9])).tolist() == [1.0, 1.0]
