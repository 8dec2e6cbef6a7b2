from __future__ import annotations

import numpy as np
import pytest

from services.predictor.policy.baselines import always_slot, fit_expected_payout, most_probable, random_worth
from services.predictor.policy.boosted import fit_boosted_policy
from services.predictor.policy.context import policy_context_of
from services.predictor.policy.evaluate import choice_of
from tests.services.predictor.policy.world import SLOTS, World, world


@pytest.fixture(scope="module")
def season() -> World:
    return world(400, seed=21)


@pytest.fixture(scope="module")
def later() -> World:
    return world(200, seed=22)


def test_always_one_slot_backs_no_other_and_prefers_the_surest(later: World) -> None:
    choice = choice_of(always_slot(later.scene, 2))

    assert (choice.action == 2).all()
    np.testing.assert_array_equal(choice.worth, later.told.win[:, 1])


def test_the_most_probable_entry_is_backed_and_never_an_empty_slot(later: World) -> None:
    taken = later.events.occupied.copy()
    taken[:, 0] = False
    scene = policy_context_of(later.told, taken, later.marks)

    assert (choice_of(most_probable(scene)).action == later.told.win[:, 1:].argmax(axis=1) + 2).all()
    assert (choice_of(random_worth(scene, np.random.default_rng(0))).action != 1).all()


def test_chance_backs_all_slots_alike(later: World) -> None:
    actions = choice_of(random_worth(later.scene, np.random.default_rng(0))).action

    np.testing.assert_allclose(np.bincount(actions)[1:] / len(actions), 1 / SLOTS, atol=0.05)


def test_expected_payments_find_what_the_market_backs_too_little(season: World, later: World) -> None:
    worth = fit_expected_payout(season.scene, season.episodes)(later.scene)

    gained = later.gained(choice_of(worth).action)
    assert gained.mean() > later.gained(choice_of(most_probable(later.scene)).action).mean() + 0.1
    assert abs((worth - later.gain).mean()) < 0.05


def test_expected_payments_need_payments() -> None:
    made = world(2, seed=1)
    episodes = made.episodes
    episodes.valid[:] = False

    with pytest.raises(ValueError, match="no event paid a winner"):
        fit_expected_payout(made.scene, episodes)


def test_boosting_on_returns_learns_and_is_the_same_for_the_same_seed(season: World, later: World) -> None:
    pytest.importorskip("lightgbm", reason="LightGBM is of the dev extra: pip install -e .[dev]")

    worth = fit_boosted_policy(season.scene, season.episodes, payout_quantile=0.995)(later.scene)
    again = fit_boosted_policy(season.scene, season.episodes, payout_quantile=0.995)(later.scene)

    np.testing.assert_array_equal(worth, again)
    assert np.corrcoef(worth.ravel(), later.gain.ravel())[0, 1] > 0.2
