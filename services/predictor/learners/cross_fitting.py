"""Probabilities of the events a model learned from, as if it had not: each told by a fit without its days.

A policy that learns from what a model says of its own training events takes its certainty at face value: on later
events it then bets on what is not there (values of +0.2 a unit where -0.03 came back, in a season of boat racing).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from services.predictor.data.events import Bools, Floats, Floats32, Ints
from services.predictor.learners.boosting.fit import BoostingOptions, fit_boosting
from services.predictor.learners.serial import Run

SPAN_DAYS = 3
"""Days in a row that share a fold, so that an event's neighbours in time are mostly left out with it."""

Tell = Callable[[Ints, Ints], Floats]
"""Rows to learn from and rows to tell of -> (rows, ...) probabilities."""


def folds_of(day: Ints, count: int = 4) -> Ints:
    """(n,) -> (n,): the fold of each event, from 0; whole days, in turns of a few."""
    return (day // SPAN_DAYS) % count


def cross_fitted(fold: Ints, tell: Tell) -> Floats:
    """Every event told of by a fit to the other folds. Raises ValueError where there is but one fold."""
    found = np.unique(fold)
    if len(found) < 2:
        raise ValueError("to tell of events without learning from them takes two folds at least: too few days")
    parts = {each: tell(np.flatnonzero(fold != each), np.flatnonzero(fold == each)) for each in found.tolist()}
    whole = np.zeros((len(fold), *next(iter(parts.values())).shape[1:]))
    for each, told in parts.items():
        whole[fold == each] = told
    return whole


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
