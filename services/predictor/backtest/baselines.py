"""Fits the baselines that a model is compared with, on the features that the model reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from services.predictor.data.events import Events, Floats, Floats32, Ints
from services.predictor.data.targets import Targets
from services.predictor.evaluation.comparison import Opinion
from services.predictor.features.encoding import Encoding
from services.predictor.features.inputs import Inputs, tree_entries
from services.predictor.learners.base_rates import BaseRates, base_rates
from services.predictor.learners.boosting.fit import Boosting, BoostingOptions, fit_boosting
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.conditional_logit import Logit, fit_logit
from services.predictor.learners.cross_fitting import out_of_fold_probabilities
from services.predictor.learners.serial import Run

UNIFORM, BASE, BOOSTING = "uniform", "slot base rate", "LightGBM softmax"
LOGITS = {
    "conditional logit, card": ("card",),
    "conditional logit, + observation": ("card", "observation"),
    "conditional logit, + history": ("card", "observation", "history"),
}
LOGIT = "conditional logit, + history"

Fitted = Logit | Boosting


@dataclass(frozen=True)
class Rivals:
    """`boosting`: None without LightGBM."""

    rates: BaseRates
    logits: dict[str, Logit]
    boosting: Boosting | None

    def opinions(self, inputs: Inputs) -> dict[str, Opinion]:
        """Forecasts by baseline, from the least to the most informed."""
        taken = inputs.taken
        equal = np.where(taken, 1.0, 0.0) / taken.sum(axis=1, keepdims=True)
        found = {UNIFORM: Opinion(equal), BASE: self.rates.opinion(taken)}
        found |= {name: Opinion(logit.probabilities(inputs.entry, taken)) for name, logit in self.logits.items()}
        if self.boosting is not None:
            found[BOOSTING] = Opinion(boosted_win(self.boosting, inputs))
        return found


def boosted_win(boosting: Boosting, inputs: Inputs) -> Floats:
    return boosting.probabilities(tree_entries(inputs), inputs.taken)


@dataclass(frozen=True)
class Lessons:
    """Events with their features and targets; the rows to train on, and those to validate on."""

    events: Events
    inputs: Inputs
    targets: Targets
    encoding: Encoding
    training: Ints
    validation: Ints

    def choices(self, entry: Floats32) -> ChoiceData:
        return ChoiceData(entry, self.inputs.taken, self.targets.winner, self.training, self.validation)


def fit_rivals(lessons: Lessons, seed: int, boosting: BoostingOptions | None, run: Run) -> Rivals:
    """Chooses penalties and the number of trees on the validation rows. `boosting`: None fits no trees."""
    training = lessons.training
    jobs: list[Callable[[], Fitted]] = []
    if boosting is not None:  # first, because it takes longest and the others can run beside it
        jobs.append(partial(_boosting, lessons, seed, boosting))
    jobs += [partial(_logit, lessons, groups) for groups in LOGITS.values()]
    found = run(jobs)
    trees, logits = (None, found) if boosting is None else (found[0], found[1:])
    return Rivals(
        base_rates(lessons.events.taken[training], lessons.events.place[training], lessons.targets[training]),
        {name: each for name, each in zip(LOGITS, logits, strict=True) if isinstance(each, Logit)},
        trees if isinstance(trees, Boosting) else None,
    )


def left_out(lessons: Lessons, seed: int, options: BoostingOptions, run: Run) -> Floats:
    """(training rows, S): P(win) by trees that were not fitted to the days of the event."""
    return out_of_fold_probabilities(_tree_data(lessons), lessons.events.day, seed, options, run)


def _tree_data(lessons: Lessons) -> ChoiceData:
    return lessons.choices(tree_entries(lessons.inputs))


def _logit(lessons: Lessons, groups: tuple[str, ...]) -> Logit:
    columns = np.flatnonzero(np.isin(lessons.encoding.entry_groups, groups))
    return fit_logit(lessons.choices(lessons.inputs.entry), columns)


def _boosting(lessons: Lessons, seed: int, options: BoostingOptions) -> Boosting:
    return fit_boosting(_tree_data(lessons), seed, options)
