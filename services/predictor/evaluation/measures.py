"""Quality measures of predicted probabilities. Losses are in nats."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints

# Lower bound of a probability: an outcome predicted as impossible costs 34.5 nats instead of infinity.
LEAST = 1e-15
ECE_BINS = 15
FIRST_PLACES = 3


def log_loss(told: Floats, happened: Ints) -> Floats:
    """(n, K), (n,) class index -> (n,)"""
    found = told[np.arange(len(happened)), happened]
    return np.asarray(-np.log(np.maximum(found, LEAST)), dtype=np.float64)


def two_way_loss(told: Floats, came: Bools) -> Floats:
    """(m,), (m,) -> (m,)"""
    return np.asarray(-np.log(np.maximum(np.where(came, told, 1 - told), LEAST)), dtype=np.float64)


def brier(told: Floats, happened: Ints) -> Floats:
    """(n, K), (n,) -> (n,): squared distance from the outcome, summed over the classes; 0 is best, 2 worst."""
    return np.asarray(((told - np.eye(told.shape[1])[happened]) ** 2).sum(axis=1), dtype=np.float64)


def top1(told: Floats, happened: Ints) -> Floats:
    """(n, K), (n,) -> (n,): 1 where the most probable class occurred."""
    return np.asarray(told.argmax(axis=1) == happened, dtype=np.float64)


def auc(told: Floats, came: Bools) -> float:
    """(m,), (m,): probability that a positive outcome was predicted higher than a negative one; ties count half.

    NaN if all outcomes are the same.
    """
    _, rank, count = np.unique(told, return_inverse=True, return_counts=True)
    middle = count.cumsum() - (count - 1) / 2
    ones = int(came.sum())
    if ones in {0, len(came)}:
        return float("nan")
    return float((middle[rank][came].sum() - ones * (ones + 1) / 2) / (ones * (len(came) - ones)))


def reliability(told: Floats, came: Bools) -> tuple[Floats, Floats, Ints]:
    """(m,), (m,) -> mean probability, observed frequency and count in 15 bins of equal width; NaN in empty bins."""
    bins = np.minimum((told * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    count = np.bincount(bins, minlength=ECE_BINS)
    size = np.where(count > 0, count, np.nan)
    share = np.bincount(bins, came.astype(np.float64), ECE_BINS) / size
    return np.bincount(bins, told, ECE_BINS) / size, share, count


def calibration_error(told: Floats, came: Bools) -> float:
    """(m,), (m,): mean of |probability - observed frequency| over the bins of `reliability`, weighted by count."""
    if not len(told):
        return float("nan")
    said, share, count = reliability(told, came)
    return float(np.nansum(np.abs(said - share) * count) / count.sum())


def pooled(told: Floats, taken: Bools, winner: Ints) -> tuple[Floats, Bools]:
    """(n, S) -> (m,), (m,): P(win) of every occupied slot, and whether it won ("all")."""
    return told[taken], (np.arange(told.shape[1]) == winner[:, None])[taken]


def most_probable(told: Floats, winner: Ints) -> tuple[Floats, Bools]:
    """(n, S) -> (n,), (n,): P(win) of the most probable slot, and whether it won ("top")."""
    return told.max(axis=1), told.argmax(axis=1) == winner
