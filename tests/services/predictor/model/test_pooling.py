"""The pooling of the members' outputs, and its calibration."""

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


class Sample(NamedTuple):
    truth: Floats
    noise: Floats
    occupied: Bools
    winner: Ints


def sample(count: int, seed: int = 2) -> Sample:
    """`truth`: scores whose softmax is the win probability. `noise`: scores without information."""
    rng = np.random.default_rng(seed)
    occupied = np.ones((count, SLOTS), dtype=np.bool_)
    occupied[:, -1] = rng.random(count) < 0.8
    truth, noise = rng.normal(size=(2, count, SLOTS))
    winner = np.where(occupied, truth + rng.gumbel(size=truth.shape), -np.inf).argmax(axis=1)
    return Sample(truth, noise, occupied, winner)


def pooling_of(networks: float, trees: float, bias: list[float]) -> Pooling:
    return Pooling(
        networks=networks,
        trees=trees,
        slot_bias=tuple(bias),
        top3=Mixing(),
        trend=Scaling(bias=(0.0,) * 3),
        behaviour=Scaling(bias=(0.0,) * 3),
    )


def loss(probabilities: Floats, winner: Ints) -> float:
    return float(-np.log(probabilities[np.arange(len(winner)), winner]).mean())


def test_pooling_prefers_the_informative_member() -> None:
    data, later = sample(6000), sample(3000, seed=3)

    networks, trees, bias = fit_result(data.truth, [data.noise, data.noise], data.occupied, data.winner)
    other_networks, other_trees, _ = fit_result(data.noise, [data.truth], data.occupied, data.winner)

    assert networks > 0.85
    assert abs(trees) < 0.15
    assert other_trees > 0.85
    assert abs(other_networks) < 0.15
    probabilities = pool_win(pooling_of(networks, trees, bias), later.truth, [later.noise] * 2, later.occupied)
    even = pool_win(pooling_of(0.5, 0.5, [0.0] * SLOTS), later.truth, [later.noise] * 2, later.occupied)
    assert loss(probabilities, later.winner) < loss(even, later.winner) - 0.05


def test_probabilities_sum_to_one_over_the_occupied_slots() -> None:
    data = sample(50)

    pooled = pool_win(
        pooling_of(0.7, 0.4, [0.1, 0, 0, 0, -0.2]), 30 * data.truth, [data.noise, data.truth], data.occupied
    )

    np.testing.assert_allclose(pooled.sum(axis=1), 1)
    assert (pooled[~data.occupied] == 0).all()
    assert (pooled >= 0).all()


def test_a_common_offset_and_scores_of_empty_slots_change_nothing() -> None:
    data = sample(50)
    shifted_all = data.truth + 7.0 * np.arange(50)[:, None]
    loud = np.where(data.occupied, data.truth, 99.0)

    np.testing.assert_allclose(centre(shifted_all, data.occupied), centre(data.truth, data.occupied))
    np.testing.assert_array_equal(centre(loud, data.occupied), centre(data.truth, data.occupied))


def test_overconfidence_is_corrected() -> None:
    data, later = sample(4000), sample(3000, seed=3)

    networks, _, bias = fit_result(2 * data.truth, [], data.occupied, data.winner)

    probabilities, before = (
        pool_win(pooling_of(weight, 0.0, offsets), 2 * later.truth, [], later.occupied)
        for weight, offsets in ((networks, bias), (1.0, [0.0] * SLOTS))
    )
    assert networks == pytest.approx(0.5, abs=0.06)
    assert loss(probabilities, later.winner) < loss(before, later.winner) - 0.05


def test_a_slot_that_wins_less_often_gets_a_negative_bias() -> None:
    data = sample(6000)
    rng = np.random.default_rng(4)
    drawn = data.truth + np.array([0, 0, -0.5, 0, 0]) + rng.gumbel(size=data.truth.shape)
    winner = np.where(data.occupied, drawn, -np.inf).argmax(axis=1)

    _, _, bias = fit_result(data.truth, [], data.occupied, winner)

    assert int(np.argmin(bias)) == 2
    assert bias[2] < -0.25


def test_a_few_events_change_little() -> None:
    few = sample(4)

    networks, trees, bias = fit_result(2 * few.noise, [few.truth], few.occupied, few.winner)
    scaling = fit_scaling(np.array([[0.0, 9.0]] * 3), np.array([0, 0, 0]))
    mixing = fit_mixing(np.array([2.0, 2.0]), None, np.array([0, 0]))

    assert networks == pytest.approx(0.5, abs=0.2)
    assert trees == pytest.approx(0.5, abs=0.2)
    assert np.abs(bias).max() < 0.01
    assert 1.0 < scaling.temperature < 1.6
    assert -0.02 < scaling.bias[1] < 0
    assert 0.9 < mixing.networks < 1.0


def test_a_head_is_calibrated() -> None:
    """The logits are three times too large, and one class is predicted too rarely."""
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(8000, 3))
    happened = (logits + np.array([0.0, 0.0, 0.2]) + rng.gumbel(size=logits.shape)).argmax(axis=1)

    scaling = fit_scaling(3 * logits, happened)

    assert scaling.temperature == pytest.approx(3, rel=0.15)
    assert scaling.bias[-1] - scaling.bias[0] == pytest.approx(0.2, abs=0.12)
    probabilities = calibrate(scaling, 3 * logits)
    assert probabilities[:, -1].mean() == pytest.approx((happened == 2).mean(), abs=0.01)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_without_events_the_defaults_are_kept() -> None:
    no_rows = np.zeros(0, dtype=np.int64)

    assert fit_scaling(np.zeros((0, 3)), no_rows) == Scaling(bias=(0.0, 0.0, 0.0))
    assert fit_mixing(np.zeros(0), np.zeros(0), no_rows) == Mixing()
    np.testing.assert_allclose(calibrate(Scaling(bias=(0.0,) * 3), np.zeros((2, 3))), 1 / 3)


def test_top3_probabilities_sum_to_three() -> None:
    data = sample(40)

    pooled = pool_top3(Mixing(networks=0.6, trees=0.4, bias=0.1), data.truth, [data.noise, data.truth], data.occupied)

    total, certain = pooled.sum(axis=1), (pooled > 0.999).any(axis=1)
    assert certain.any()
    np.testing.assert_allclose(total[~certain], 3)
    assert (total[certain] < 3).all()
    assert (pooled[~data.occupied] == 0).all()
    assert (pooled[data.occupied] > 0).all()
    assert (pooled < 1).all()


def test_mixing_prefers_the_informative_member() -> None:
    rng = np.random.default_rng(7)
    truth, noise = rng.normal(size=(2, 6000))
    happened = (rng.random(6000) < 1 / (1 + np.exp(-truth))).astype(np.int64)

    mixing = fit_mixing(truth, noise, happened)

    assert mixing.networks > 0.8
    assert abs(mixing.trees) < 0.2


def test_pooling_without_trees_keeps_the_confidence() -> None:
    data = sample(30)
    whole = pooling_of(0.4, 0.7, [0.1, 0, 0, 0, 0]).model_copy(update={"top3": Mixing(networks=0.5, trees=0.4)})

    alone = without_trees(whole)

    np.testing.assert_allclose(
        pool_win(alone, data.truth, [], data.occupied), pool_win(whole, data.truth, [data.truth], data.occupied)
    )
    np.testing.assert_allclose(
        pool_top3(alone.top3, data.truth, [], data.occupied),
        pool_top3(whole.top3, data.truth, [data.truth], data.occupied),
    )


def test_an_event_gets_the_same_bits_in_every_batch() -> None:
    data = sample(300)
    pooling = pooling_of(0.4, 0.7, [0.1, 0, 0, 0, 0])
    thirds = np.random.default_rng(1).normal(size=(300, 3))
    scaling, mixing = Scaling(temperature=1.3, bias=(0.1, 0.0, -0.1)), Mixing(networks=0.6, trees=0.4, bias=0.1)

    def outputs(rows: slice) -> list[Floats]:
        truth, noise, occupied = data.truth[rows].copy(), data.noise[rows].copy(), data.occupied[rows]
        return [
            pool_win(pooling, truth, [noise, truth], occupied),
            pool_top3(mixing, truth, [noise], occupied),
            calibrate(scaling, thirds[rows].copy()),
        ]

    whole = outputs(slice(None))
    for size in (1, 2, 7, 256):
        for start in range(0, 300, size):
            rows = slice(start, start + size)
            for actual, expected in zip(outputs(rows), whole, strict=True):
                np.testing.assert_array_equal(actual, expected[rows])
