"""Cluster bootstrap intervals: events at one place on one day are not independent.

Whole clusters are drawn with replacement (Cameron, Gelbach, Miller 2008); an interval is the central 95 % of the draws.
Two models are compared on the same draws of the same events, so that difficulty common to both cancels out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Floats, Ints

DRAWS = 2000
TAILS = (0.025, 0.975)
# Draws computed together: memory holds this many weights per cluster.
BLOCK_DRAWS = 250


class Interval(NamedTuple):
    """`mean` is that of the data, not of the draws. All are NaN if the denominator is 0."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


def clusters_of(day: Ints, venue: Ints) -> Ints:
    """(n,), (n,) -> (n,): number of the event's (day, venue) pair, counted from 0."""
    pairs = np.stack([day, venue], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)


def mean_difference(difference: Floats, clusters: Ints, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean of (n,) differences, one per event, e.g. log-loss of one model minus that of another."""
    return ratio(difference, np.ones(len(difference)), clusters, draws, seed)


def ratio(numerator: Floats, denominator: Floats, clusters: Ints, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Sum of (n,) over sum of (n,), e.g. returns over stakes."""
    return _interval(_ratios, _sums(clusters, numerator, denominator), draws, seed)


def ratio_difference(
    first: tuple[Floats, Floats], second: tuple[Floats, Floats], clusters: Ints, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Ratio of the first (numerator, denominator) minus ratio of the second, on the same draws."""
    return _interval(
        lambda sums: _ratios(sums[:, :2]) - _ratios(sums[:, 2:]), _sums(clusters, *first, *second), draws, seed
    )


def _sums(clusters: Ints, *columns: Floats) -> Floats:
    """Sums by cluster, (C, columns)."""
    _, index = np.unique(clusters, return_inverse=True)
    return np.stack([np.bincount(index, column) for column in columns], axis=1)


def _interval(statistic: Callable[[Floats], Floats], sums: Floats, draws: int, seed: int) -> Interval:
    """statistic: (m, columns) sums -> (m,). Computed for the data and for draws of C clusters with replacement."""
    random, count = np.random.default_rng(seed), len(sums)
    whole, replicates = statistic(sums.sum(axis=0, keepdims=True))[0], []
    for start in range(0, draws if count else 0, BLOCK_DRAWS):
        size = min(BLOCK_DRAWS, draws - start)
        replicates.append(statistic(random.multinomial(count, np.full(count, 1 / count), size=size) @ sums))
    finite = np.concatenate([values[~np.isnan(values)] for values in replicates]) if replicates else np.zeros(0)
    low, high = np.quantile(finite, TAILS) if len(finite) else (np.nan, np.nan)
    return Interval(float(whole), float(low), float(high))


def _ratios(sums: Floats) -> Floats:
    """(m, 2) -> (m,): NaN where the denominator is 0."""
    ratios = np.full(len(sums), np.nan)
    np.divide(sums[:, 0], sums[:, 1], out=ratios, where=sums[:, 1] != 0)
    return ratios
