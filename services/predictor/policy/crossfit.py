"""Probabilities of the events a model learned from, as if it had not: each told by a fit without its days. Pure.

A policy that learns from what a model says of its own training events takes its certainty at face value: on later
events it then bets on what is not there (values of +0.2 a unit where -0.03 came back, in a season of boat racing).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from services.predictor.facts import Floats, Ints

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
