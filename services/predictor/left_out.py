"""Chances to win of the events that are learned from, each told by trees that did not learn from its days. Pure."""

from __future__ import annotations

from functools import partial

import numpy as np

from services.predictor.facts import Bools, Floats, Floats32, Ints
from services.predictor.jobs import Run
from services.predictor.policy.crossfit import cross_fitted, folds_of
from services.predictor.references.boosting import BoostingOptions, fit_boosting


def left_out_wins(
    entries: Floats32, taken: Bools, winner: Ints, day: Ints, rows: Ints, validation: Ints, seed: int,
    options: BoostingOptions, run: Run,
) -> Floats:  # fmt: skip
    """(rows, S). What is learned from chances must not learn from those that a model gives to its own lessons.

    entries (n, S, F), taken (n, S), winner (n,), day (n,); `rows` are learned from and told of, `validation` ends each
    fit.
    """
    fold = folds_of(day[rows])
    parts = np.unique(fold).tolist()
    jobs = [
        partial(fit_boosting, entries, taken, winner, rows[fold != each], validation, seed, options) for each in parts
    ]
    trees = dict(zip(parts, run(jobs), strict=True))

    def tell(_: Ints, asked: Ints) -> Floats:
        there = rows[asked]
        found: Floats = trees[int(fold[asked[0]])].probabilities(entries[there], taken[there])
        return found

    return cross_fitted(fold, tell)
