"""Probabilities of the events a model learned from, as if it had not: each told by a fit without its days.

A policy that learns from what a model says of its own training events takes its certainty at face value: on later
events it then bets on what is not there (values of +0.2 a unit where -0.03 came back, in a season of boat racing).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from services.predictor.data.events import Floats, Ints
from services.predictor.learners.boosting.fit import BoostingOptions, fit_boosting
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.serial import Run
from shared.errors import ConfigError

FOLDS = 4
SPAN_DAYS = 3
"""Days in a row that share a fold, so that an event's neighbours in time are mostly left out with it."""


def folds_of(day: Ints) -> Ints:
    """(n,) -> (n,): the fold of each event, from 0; whole days, in turns of a few."""
    return (day // SPAN_DAYS) % FOLDS


def out_of_fold_probabilities(data: ChoiceData, day: Ints, seed: int, options: BoostingOptions, run: Run) -> Floats:
    """(training rows, S): P(win) of each training event, from trees that were fitted without its fold of days (n,).

    A policy must be trained on these, never on a model's predictions for its own training events. Raises ConfigError
    where all training days are in one fold.
    """
    rows, fold = data.training, folds_of(day[data.training])
    folds = np.unique(fold).tolist()
    if len(folds) < 2:
        raise ConfigError(f"a policy needs training days in two folds of {SPAN_DAYS} days at least: too few days")
    fitted = run([partial(fit_boosting, data._replace(training=rows[fold != each]), seed, options) for each in folds])
    found = np.zeros((len(rows), data.taken.shape[1]))
    for each, trees in zip(folds, fitted, strict=True):
        there = rows[fold == each]
        found[fold == each] = trees.probabilities(data.entry[there], data.taken[there])
    return found
