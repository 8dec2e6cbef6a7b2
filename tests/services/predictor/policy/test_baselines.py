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


def test_always_one_slot_backs_no_other_and_prefers_probable_winners(later: World) -> None:
    choice = choice_of(always_slot(later.context, 2))

    assert (choice.action == 2).all()
    np.testing.assert_array_equal(choice.worth, later.probabilities.win[:, 1])


def test_the_most_probable_entry_is_backed_and_never_an_empty_slot(later: World) -> None:
    occupied = later.events.occupied.copy()
    occupied[:, 0] = False
    context = policy_context_of(later.probabilities, occupied, later.marks)

    assert (choice_of(most_probable(context)).action == later.probabilities.win[:, 1:].argmax(axis=1) + 2).all()
    assert (choice_of(random_worth(context, np.random.default_rng(0))).action != 1).all()


def test_the_random_policy_backs_all_slots_equally_often(later: World) -> None:
    actions = choice_of(random_worth(later.context, np.random.default_rng(0))).action

    np.testing.assert_allclose(np.bincount(actions)[1:] / len(actions), 1 / SLOTS, atol=0.05)


def test_expected_payouts_find_what_the_market_underestimates(season: World, later: World) -> None:
    worth = fit_expected_payout(season.context, season.episodes)(later.context)

    gain = later.mean_gain(choice_of(worth).action)
    assert gain.mean() > later.mean_gain(choice_of(most_probable(later.context)).action).mean() + 0.1
    assert abs((worth - later.gain).mean()) < 0.05


def test_expected_payouts_need_payouts() -> None:
    data = world(2, seed=1)
    episodes = data.episodes
    episodes.valid[:] = False

    with pytest.raises(ValueError, match="no event paid a winner"):
        fit_expected_payout(data.context, episodes)


def test_boosting_on_returns_learns_and_is_reproducible(season: World, later: World) -> None:
    pytest.importorskip("lightgbm", reason="LightGBM is in the dev extra: pip install -e .[dev]")

    worth = fit_boosted_policy(season.context, season.episodes, payout_quantile=0.995)(later.context)
    again = fit_boosted_policy(season.context, season.episodes, payout_quantile=0.995)(later.context)

    np.testing.assert_array_equal(worth, again)
    assert np.corrcoef(worth.ravel(), later.gain.ravel())[0, 1] > 0.2
