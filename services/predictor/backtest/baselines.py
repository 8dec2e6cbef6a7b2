"""Fits the baselines that a model is compared with, on the features that the model reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from services.predictor.data.events import Events, Floats, Floats32, Ints
from services.predictor.data.targets import Targets
from services.predictor.evaluation.comparison import Forecast
from services.predictor.features.encoding import Encoding
from services.predictor.features.inputs import Inputs, tree_entries
from services.predictor.learners.base_rates import BaseRates, fit_base_rates
from services.predictor.learners.boosting.fit import Boosting, BoostingOptions, fit_boosting
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.conditional_logit import Logit, fit_logit
from services.predictor.learners.cross_fitting import out_of_fold_probabilities
from services.predictor.learners.serial import Executor

UNIFORM, BASE, BOOSTING = "uniform", "slot base rate", "LightGBM softmax"
LOGITS = {
    "conditional logit, card": ("card",),
    "conditional logit, + observation": ("card", "observation"),
    "conditional logit, + history": ("card", "observation", "history"),
}
LOGIT = "conditional logit, + history"

FittedBaseline = Logit | Boosting


@dataclass(frozen=True)
class Baselines:
    """`boosting`: None without LightGBM."""

    rates: BaseRates
    logits: dict[str, Logit]
    boosting: Boosting | None

    def forecasts(self, inputs: Inputs) -> dict[str, Forecast]:
        """Forecasts by baseline, from the least to the most informed."""
        occupied = inputs.occupied
        equal = np.where(occupied, 1.0, 0.0) / occupied.sum(axis=1, keepdims=True)
        by_name = {UNIFORM: Forecast(equal), BASE: self.rates.forecast(occupied)}
        by_name |= {name: Forecast(logit.probabilities(inputs.entry, occupied)) for name, logit in self.logits.items()}
        if self.boosting is not None:
            by_name[BOOSTING] = Forecast(boosted_win(self.boosting, inputs))
        return by_name


def boosted_win(boosting: Boosting, inputs: Inputs) -> Floats:
    return boosting.probabilities(tree_entries(inputs), inputs.occupied)


@dataclass(frozen=True)
class BaselineExamples:
    """Events with their features and targets; the rows to train on, and those to validate on."""

    events: Events
    inputs: Inputs
    targets: Targets
    encoding: Encoding
    training: Ints
    validation: Ints

    def choice_data(self, entry: Floats32) -> ChoiceData:
        return ChoiceData(entry, self.inputs.occupied, self.targets.winner, self.training, self.validation)


def fit_baselines(
    examples: BaselineExamples, seed: int, boosting: BoostingOptions | None, executor: Executor
) -> Baselines:
    """Chooses penalties and the number of trees on the validation rows. `boosting`: None fits no trees."""
    training = examples.training
    jobs: list[Callable[[], FittedBaseline]] = []
    if boosting is not None:  # first, because it takes longest and the others can run beside it
        jobs.append(partial(_fit_baseline_boosting, examples, seed, boosting))
    jobs += [partial(_fit_baseline_logit, examples, groups) for groups in LOGITS.values()]
    fitted = executor(jobs)
    trees, logits = (None, fitted) if boosting is None else (fitted[0], fitted[1:])
    return Baselines(
        fit_base_rates(examples.events.occupied[training], examples.events.place[training], examples.targets[training]),
        {name: each for name, each in zip(LOGITS, logits, strict=True) if isinstance(each, Logit)},
        trees if isinstance(trees, Boosting) else None,
    )


def out_of_fold_win(examples: BaselineExamples, seed: int, options: BoostingOptions, executor: Executor) -> Floats:
    """(training rows, S): P(win) by trees that were not fitted to the days of the event."""
    return out_of_fold_probabilities(_tree_data(examples), examples.events.day, seed, options, executor)


def _tree_data(examples: BaselineExamples) -> ChoiceData:
    return examples.choice_data(tree_entries(examples.inputs))


def _fit_baseline_logit(examples: BaselineExamples, groups: tuple[str, ...]) -> Logit:
    columns = np.flatnonzero(np.isin(examples.encoding.entry_groups, groups))
    return fit_logit(examples.choice_data(examples.inputs.entry), columns)


def _fit_baseline_boosting(examples: BaselineExamples, seed: int, options: BoostingOptions) -> Boosting:
    return fit_boosting(_tree_data(examples), seed, options)
