"""Out-of-fold probabilities: each training event is predicted by a model fitted without the event's days.

A model is overconfident about its own training events. A policy trained on such probabilities bets on value that later
events do not have (it expected +0.2 per unit and got -0.03, in a season of boat racing).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from services.predictor.data.events import Floats, Ints
from services.predictor.learners.boosting.fit import BoostingOptions, fit_boosting
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.serial import Executor
from shared.errors import ConfigError

FOLDS = 4
SPAN_DAYS = 3
"""Consecutive days that share a fold, so that most events near in time are left out together."""


def folds_of(day: Ints) -> Ints:
    """(n,) -> (n,): the fold of each event, counted from 0. Blocks of SPAN_DAYS days take turns."""
    return (day // SPAN_DAYS) % FOLDS


def out_of_fold_probabilities(
    data: ChoiceData, day: Ints, seed: int, options: BoostingOptions, executor: Executor
) -> Floats:
    """(training rows, S): P(win) of each training event, from trees fitted without its fold. `day` (n,): since 1970.

    A policy must be trained on these, never on a model's predictions for its own training events. Raises ConfigError
    if all training days are in one fold.
    """
    rows, fold = data.training, folds_of(day[data.training])
    folds = np.unique(fold).tolist()
    if len(folds) < 2:
        raise ConfigError(f"a policy needs training days in two folds of {SPAN_DAYS} days: train on more days")
    models = executor(
        [partial(fit_boosting, data._replace(training=rows[fold != each]), seed, options) for each in folds]
    )
    probabilities = np.zeros((len(rows), data.occupied.shape[1]))
    for each, trees in zip(folds, models, strict=True):
        held_out = rows[fold == each]
        probabilities[fold == each] = trees.probabilities(data.entry[held_out], data.occupied[held_out])
    return probabilities
