"""Bootstrap intervals cover what they should, and clusters count."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.evaluation.bootstrap import clusters_of, mean_difference, ratio, ratio_difference


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    clusters = np.repeat(np.arange(60), 5)
    covered = 0
    for seed in range(150):
        shared = np.repeat(random.normal(size=60), 5)
        interval = mean_difference(0.3 + shared + random.normal(size=300), clusters, draws=300, seed=seed)
        covered += interval.low <= 0.3 <= interval.high

    # 95 % of 150 is 142. Fewer than 133, or all 150, has a probability of one in a thousand.
    assert 133 <= covered < 150


def test_noise_that_a_cluster_shares_widens_the_interval() -> None:
    random = np.random.default_rng(5)
    difference = np.repeat(random.normal(size=100), 10)
    clustered = mean_difference(difference, np.repeat(np.arange(100), 10))
    alone = mean_difference(difference, np.arange(1000))

    assert (clustered.mean, alone.mean) == pytest.approx((difference.mean(), difference.mean()))
    assert clustered.high - clustered.low > 2.5 * (alone.high - alone.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    difference, clusters = np.random.default_rng(6).normal(size=100), np.arange(100)

    assert mean_difference(difference, clusters, seed=1) == mean_difference(difference, clusters, seed=1)
    assert mean_difference(difference, clusters, seed=1) != mean_difference(difference, clusters, seed=2)


def test_a_ratio_is_of_sums_and_not_a_mean_of_ratios() -> None:
    interval = ratio(np.array([9.0, 0, 0]), np.array([3.0, 1, 0]), np.array([0, 1, 2]))

    assert interval.mean == 9 / 4
    assert 0 <= interval.low <= 9 / 4 <= interval.high <= 3


def test_two_policies_are_compared_on_the_same_draws() -> None:
    random = np.random.default_rng(7)
    stake, luck = np.ones(2000), random.lognormal(sigma=2, size=2000)
    interval = ratio_difference((luck + 0.1, stake), (luck, stake), np.arange(2000))

    assert interval == pytest.approx((0.1, 0.1, 0.1))


def test_an_empty_sample_gives_nan() -> None:
    assert np.isnan(ratio(np.zeros(3), np.zeros(3), np.arange(3))).all()
    assert np.isnan(mean_difference(np.zeros(0), np.zeros(0, dtype=np.int64))).all()


def test_a_cluster_is_a_day_at_a_venue() -> None:
    clusters = clusters_of(np.array([1, 1, 2, 1]), np.array([7, 8, 7, 7]))

    assert clusters[0] == clusters[3]
    assert len(set(clusters.tolist())) == 3
