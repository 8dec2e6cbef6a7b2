"""Quality measures of predicted probabilities. Losses are in nats."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints

# Lower bound of a probability: an outcome predicted as impossible costs 34.5 nats instead of infinity.
MIN_PROBABILITY = 1e-15
ECE_BINS = 15
FIRST_PLACES = 3


def log_loss(probabilities: Floats, labels: Ints) -> Floats:
    """(n, K), (n,) class index -> (n,)"""
    of_label = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.maximum(of_label, MIN_PROBABILITY)), dtype=np.float64)


def binary_log_loss(probabilities: Floats, outcomes: Bools) -> Floats:
    """(m,), (m,) -> (m,)"""
    return np.asarray(
        -np.log(np.maximum(np.where(outcomes, probabilities, 1 - probabilities), MIN_PROBABILITY)), dtype=np.float64
    )


def brier(probabilities: Floats, labels: Ints) -> Floats:
    """(n, K), (n,) -> (n,): squared distance from the outcome, summed over the classes; 0 is best, 2 worst."""
    return np.asarray(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1), dtype=np.float64)


def top1(probabilities: Floats, labels: Ints) -> Floats:
    """(n, K), (n,) -> (n,): 1 where the most probable class occurred."""
    return np.asarray(probabilities.argmax(axis=1) == labels, dtype=np.float64)


def auc(probabilities: Floats, outcomes: Bools) -> float:
    """(m,), (m,): probability that a positive outcome was predicted higher than a negative one; ties count half.

    NaN if all outcomes are the same.
    """
    _, rank, count = np.unique(probabilities, return_inverse=True, return_counts=True)
    middle = count.cumsum() - (count - 1) / 2
    ones = int(outcomes.sum())
    if ones in {0, len(outcomes)}:
        return float("nan")
    return float((middle[rank][outcomes].sum() - ones * (ones + 1) / 2) / (ones * (len(outcomes) - ones)))


def reliability(probabilities: Floats, outcomes: Bools) -> tuple[Floats, Floats, Ints]:
    """(m,), (m,) -> mean probability, observed frequency and count in 15 bins of equal width; NaN in empty bins."""
    bins = np.minimum((probabilities * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    count = np.bincount(bins, minlength=ECE_BINS)
    size = np.where(count > 0, count, np.nan)
    share = np.bincount(bins, outcomes.astype(np.float64), ECE_BINS) / size
    return np.bincount(bins, probabilities, ECE_BINS) / size, share, count


def calibration_error(probabilities: Floats, outcomes: Bools) -> float:
    """(m,), (m,): mean of |probability - observed frequency| over the bins of `reliability`, weighted by count."""
    if not len(probabilities):
        return float("nan")
    mean_probability, share, count = reliability(probabilities, outcomes)
    return float(np.nansum(np.abs(mean_probability - share) * count) / count.sum())


def every_slot(probabilities: Floats, occupied: Bools, winner: Ints) -> tuple[Floats, Bools]:
    """(n, S) -> (m,), (m,): P(win) of every occupied slot, and whether it won ("all")."""
    return probabilities[occupied], (np.arange(probabilities.shape[1]) == winner[:, None])[occupied]


def most_probable(probabilities: Floats, winner: Ints) -> tuple[Floats, Bools]:
    """(n, S) -> (n,), (n,): P(win) of the most probable slot, and whether it won ("top")."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == winner
