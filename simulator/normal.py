"""A multivariate normal distribution, with updates from linear measurements and from an order of finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.world import Floats

MAX_STEPS, TOLERANCE = 30, 1e-6
OrderStage = tuple[int, list[int]]
"""The index of the boat that comes next, and the indices of the boats that remain, that one included."""


@dataclass(frozen=True)
class Normal:
    """mean (N,), covariance (N, N)."""

    mean: Floats
    covariance: Floats

    def condition_on(self, rows: Floats, values: Floats, variance: Floats) -> Normal:
        """The posterior after measuring rows @ x with normal errors; rows (m, N), values and variance (m,)."""
        if not len(rows):
            return self
        across = self.covariance @ rows.T
        gain = np.linalg.solve(rows @ across + np.diag(variance), across.T).T
        return Normal(self.mean + gain @ (values - rows @ self.mean), self.covariance - gain @ across.T)

    def condition_on_order(self, rows: Floats, offset: Floats, stages: Sequence[OrderStage]) -> Normal:
        """The posterior after a Plackett-Luce order of the utilities rows @ x + offset, by Laplace approximation."""
        across = self.covariance @ rows.T
        expected = rows @ self.mean
        spread = rows @ across
        precision = np.linalg.inv(spread + 1e-10 * np.eye(len(rows)))
        mode = expected
        for _ in range(MAX_STEPS):
            gradient, curvature = _order_terms(mode + offset, stages)
            step = np.linalg.solve(precision + curvature, gradient - precision @ (mode - expected))
            mode = mode + step
            if np.abs(step).max() < TOLERANCE:
                break
        posterior_covariance = np.linalg.inv(precision + _order_terms(mode + offset, stages)[1])
        gain = across @ precision
        return Normal(
            self.mean + gain @ (mode - expected), self.covariance - gain @ (spread - posterior_covariance) @ gain.T
        )

    def sample(self, rows: Floats, count: int, rng: np.random.Generator) -> Floats:
        """(count, m) draws of rows @ x, in antithetic pairs around the mean."""
        spread = rows @ self.covariance @ rows.T
        root = np.linalg.cholesky(spread + 1e-9 * np.eye(len(rows)))
        deviations = rng.normal(size=(count // 2, len(rows))) @ root.T
        return np.asarray(rows @ self.mean + np.concatenate([deviations, -deviations]))


def _order_terms(utilities: Floats, stages: Sequence[OrderStage]) -> tuple[Floats, Floats]:
    """Gradient and negative Hessian of the order's log-probability. A boat with utility minus infinity is excluded."""
    gradient, curvature = np.zeros(len(utilities)), np.zeros((len(utilities), len(utilities)))
    weights = np.exp(utilities - utilities.max())
    for first, remaining in stages:
        chance = np.zeros(len(utilities))
        chance[remaining] = weights[remaining] / weights[remaining].sum()
        gradient -= chance
        gradient[first] += 1
        curvature += np.diag(chance) - np.outer(chance, chance)
    return gradient, curvature
