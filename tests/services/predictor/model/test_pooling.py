"""Opinions pooled into one that means what it says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.model.pooling import (
    Mixing,
    Pooling,
    Scaling,
    calibrate,
    centre,
    fit_mixing,
    fit_result,
    fit_scaling,
    pool_top3,
    pool_win,
    without_trees,
)

pytestmark = pytest.mark.slow
SLOTS = 5


class World(NamedTuple):
    truth: Floats
    noise: Floats
    taken: Bools
    winner: Ints


def world(count: int, seed: int = 2) -> World:
    """Scores whose softmax is each slot's chance, scores that say nothing, and who won."""
    rng = np.random.default_rng(seed)
    taken = np.ones((count, SLOTS), dtype=np.bool_)
    taken[:, -1] = rng.random(count) < 0.8
    truth, noise = rng.normal(size=(2, count, SLOTS))
    winner = np.where(taken, truth + rng.gumbel(size=truth.shape), -np.inf).argmax(axis=1)
    return World(truth, noise, taken, winner)


def pooling_of(networks: float, trees: float, bias: list[float]) -> Pooling:
    return Pooling(
        networks=networks,
        trees=trees,
        slot_bias=tuple(bias),
        top3=Mixing(),
        trend=Scaling(bias=(0.0,) * 3),
        behaviour=Scaling(bias=(0.0,) * 3),
    )


def loss(told: Floats, winner: Ints) -> float:
    return float(-np.log(told[np.arange(len(winner)), winner]).mean())


def test_a_pool_leans_to_the_member_that_knows() -> None:
    seen, later = world(6000), world(3000, seed=3)

    networks, trees, bias = fit_result(seen.truth, [seen.noise, seen.noise], seen.taken, seen.winner)
    other_networks, other_trees, _ = fit_result(seen.noise, [seen.truth], seen.taken, seen.winner)

    assert networks > 0.85
    assert abs(trees) < 0.15
    assert other_trees > 0.85
    assert abs(other_networks) < 0.15
    told = pool_win(pooling_of(networks, trees, bias), later.truth, [later.noise] * 2, later.taken)
    even = pool_win(pooling_of(0.5, 0.5, [0.0] * SLOTS), later.truth, [later.noise] * 2, later.taken)
    assert loss(told, later.winner) < loss(even, later.winner) - 0.05


def test_probabilities_sum_to_one_over_the_entries_that_are_there() -> None:
    seen = world(50)

    found = pool_win(pooling_of(0.7, 0.4, [0.1, 0, 0, 0, -0.2]), 30 * seen.truth, [seen.noise, seen.truth], seen.taken)

    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found[~seen.taken] == 0).all()
    assert (found >= 0).all()


def test_what_all_entries_share_and_what_empty_slots_say_changes_nothing() -> None:
    seen = world(50)
    shifted_all = seen.truth + 7.0 * np.arange(50)[:, None]
    loud = np.where(seen.taken, seen.truth, 99.0)

    np.testing.assert_allclose(centre(shifted_all, seen.taken), centre(seen.truth, seen.taken))
    np.testing.assert_array_equal(centre(loud, seen.taken), centre(seen.truth, seen.taken))


def test_overconfidence_is_repaired() -> None:
    seen, later = world(4000), world(3000, seed=3)

    networks, _, bias = fit_result(2 * seen.truth, [], seen.taken, seen.winner)

    told, before = (
        pool_win(pooling_of(weight, 0.0, offsets), 2 * later.truth, [], later.taken)
        for weight, offsets in ((networks, bias), (1.0, [0.0] * SLOTS))
    )
    assert networks == pytest.approx(0.5, abs=0.06)
    assert loss(told, later.winner) < loss(before, later.winner) - 0.05


def test_a_slot_that_wins_too_seldom_gets_a_bias() -> None:
    seen = world(6000)
    rng = np.random.default_rng(4)
    drawn = seen.truth + np.array([0, 0, -0.5, 0, 0]) + rng.gumbel(size=seen.truth.shape)
    winner = np.where(seen.taken, drawn, -np.inf).argmax(axis=1)

    _, _, bias = fit_result(seen.truth, [], seen.taken, winner)

    assert int(np.argmin(bias)) == 2
    assert bias[2] < -0.25


def test_a_few_events_change_little() -> None:
    few = world(4)

    networks, trees, bias = fit_result(2 * few.noise, [few.truth], few.taken, few.winner)
    scaling = fit_scaling(np.array([[0.0, 9.0]] * 3), np.array([0, 0, 0]))
    mixing = fit_mixing(np.array([2.0, 2.0]), None, np.array([0, 0]))

    assert networks == pytest.approx(0.5, abs=0.2)
    assert trees == pytest.approx(0.5, abs=0.2)
    assert np.abs(bias).max() < 0.01
    assert 1.0 < scaling.temperature < 1.6
    assert -0.02 < scaling.bias[1] < 0
    assert 0.9 < mixing.networks < 1.0


def test_a_head_is_calibrated() -> None:
    """Told three times as surely as is right, and one class too seldom."""
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(8000, 3))
    happened = (logits + np.array([0.0, 0.0, 0.2]) + rng.gumbel(size=logits.shape)).argmax(axis=1)

    found = fit_scaling(3 * logits, happened)

    assert found.temperature == pytest.approx(3, rel=0.15)
    assert found.bias[-1] - found.bias[0] == pytest.approx(0.2, abs=0.12)
    told = calibrate(found, 3 * logits)
    assert told[:, -1].mean() == pytest.approx((happened == 2).mean(), abs=0.01)
    np.testing.assert_allclose(told.sum(axis=1), 1)


def test_where_nothing_is_known_nothing_is_changed() -> None:
    nobody = np.zeros(0, dtype=np.int64)

    assert fit_scaling(np.zeros((0, 3)), nobody) == Scaling(bias=(0.0, 0.0, 0.0))
    assert fit_mixing(np.zeros(0), np.zeros(0), nobody) == Mixing()
    np.testing.assert_allclose(calibrate(Scaling(bias=(0.0,) * 3), np.zeros((2, 3))), 1 / 3)


def test_the_first_three_places_are_shared_out_among_the_entries() -> None:
    seen = world(40)

    found = pool_top3(Mixing(networks=0.6, trees=0.4, bias=0.1), seen.truth, [seen.noise, seen.truth], seen.taken)

    total, certain = found.sum(axis=1), (found > 0.999).any(axis=1)
    assert certain.any()
    np.testing.assert_allclose(total[~certain], 3)
    assert (total[certain] < 3).all()
    assert (found[~seen.taken] == 0).all()
    assert (found[seen.taken] > 0).all()
    assert (found < 1).all()


def test_a_mixture_leans_to_the_member_that_knows() -> None:
    rng = np.random.default_rng(7)
    truth, noise = rng.normal(size=(2, 6000))
    came = (rng.random(6000) < 1 / (1 + np.exp(-truth))).astype(np.int64)

    found = fit_mixing(truth, noise, came)

    assert found.networks > 0.8
    assert abs(found.trees) < 0.2


def test_a_state_without_trees_is_as_sure_as_one_with_them() -> None:
    seen = world(30)
    whole = pooling_of(0.4, 0.7, [0.1, 0, 0, 0, 0]).model_copy(update={"top3": Mixing(networks=0.5, trees=0.4)})

    alone = without_trees(whole)

    np.testing.assert_allclose(
        pool_win(alone, seen.truth, [], seen.taken), pool_win(whole, seen.truth, [seen.truth], seen.taken)
    )
    np.testing.assert_allclose(
        pool_top3(alone.top3, seen.truth, [], seen.taken), pool_top3(whole.top3, seen.truth, [seen.truth], seen.taken)
    )


def test_an_event_gets_the_same_bits_in_every_batch() -> None:
    seen = world(300)
    pooling = pooling_of(0.4, 0.7, [0.1, 0, 0, 0, 0])
    thirds = np.random.default_rng(1).normal(size=(300, 3))
    scaling, mixing = Scaling(temperature=1.3, bias=(0.1, 0.0, -0.1)), Mixing(networks=0.6, trees=0.4, bias=0.1)

    def told(rows: slice) -> list[Floats]:
        truth, noise, taken = seen.truth[rows].copy(), seen.noise[rows].copy(), seen.taken[rows]
        return [
            pool_win(pooling, truth, [noise, truth], taken),
            pool_top3(mixing, truth, [noise], taken),
            calibrate(scaling, thirds[rows].copy()),
        ]

    whole = told(slice(None))
    for size in (1, 2, 7, 256):
        for start in range(0, 300, size):
            rows = slice(start, start + size)
            for found, wanted in zip(told(rows), whole, strict=True):
                np.testing.assert_array_equal(found, wanted[rows])
