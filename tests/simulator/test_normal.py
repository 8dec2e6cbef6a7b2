"""Normal beliefs, compared with weighted sums over many draws."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.normal import Normal

PRIOR = Normal(np.array([0.3, -0.2, 0.0]), np.array([[1.0, 0.2, 0.0], [0.2, 0.5, 0.1], [0.0, 0.1, 0.8]]))


def draws(count: int) -> np.ndarray:
    return np.random.default_rng(1).multivariate_normal(PRIOR.mean, PRIOR.covariance, count)


def weighted_moments(x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = weight @ x / weight.sum()
    return mean, (x - mean).T @ ((x - mean) * weight[:, None]) / weight.sum()


def test_conditioning_on_a_measurement_follows_bayes() -> None:
    rows, x = np.array([[1.0, -1.0, 0.5]]), draws(400_000)
    mean, covariance = weighted_moments(x, np.exp(-(((1.1 - x @ rows[0]) / 0.6) ** 2) / 2))

    posterior = PRIOR.condition_on(rows, np.array([1.1]), np.array([0.36]))

    assert posterior.mean == pytest.approx(mean, abs=0.01)
    assert posterior.covariance == pytest.approx(covariance, abs=0.01)


def test_conditioning_on_an_order_of_finish_approximates_bayes() -> None:
    offset, x = np.array([0.5, 0.0, -0.5]), draws(400_000)
    strengths = np.exp(x + offset)
    chance = strengths[:, 2] / strengths.sum(axis=1) * strengths[:, 0] / (strengths[:, 0] + strengths[:, 1])
    mean, covariance = weighted_moments(x, chance)

    posterior = PRIOR.condition_on_order(np.eye(3), offset, [(2, [0, 1, 2]), (0, [0, 1])])

    assert posterior.mean == pytest.approx(mean, abs=0.06)
    assert posterior.covariance == pytest.approx(covariance, abs=0.06)


def test_conditioning_on_nothing_changes_nothing() -> None:
    assert PRIOR.condition_on(np.zeros((0, 3)), np.zeros(0), np.zeros(0)) is PRIOR


def test_draws_have_the_mean_and_the_spread_of_the_belief() -> None:
    rows = np.array([[1.0, 0.0, 0.0], [0.5, 1.0, -1.0]])

    sample = PRIOR.sample(rows, 200_000, np.random.default_rng(2))

    assert sample.mean(axis=0) == pytest.approx(rows @ PRIOR.mean, abs=1e-9)
    assert np.cov(sample.T) == pytest.approx(rows @ PRIOR.covariance @ rows.T, abs=0.02)
