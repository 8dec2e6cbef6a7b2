"""Evaluates the model, and baselines trained on the same features, on the same events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from services.predictor.backtest.baselines import BaselineExamples, Baselines, fit_baselines
from services.predictor.backtest.walk_forward import forecast_of
from services.predictor.data.events import Events
from services.predictor.data.instants import day_number
from services.predictor.data.targets import targets_of
from services.predictor.evaluation.comparison import (
    EvaluationSet,
    Forecast,
    difference_table,
    eligible,
    is_complete,
    quality_table,
)
from services.predictor.evaluation.tables import Cell
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of
from services.predictor.learners.boosting.fit import BoostingOptions
from services.predictor.learners.serial import T, ignore_progress, serial_executor
from services.predictor.model.ensemble import Ensemble

MODEL, CARD_ONLY = "model", "model, card only"


@dataclass(frozen=True)
class BenchData:
    """Training and evaluation data: features and targets of events with all slots occupied and one winner."""

    training_examples: BaselineExamples
    evaluation_set: EvaluationSet
    card: Inputs

    @classmethod
    def of(cls, model: Ensemble, events: Events, history: History, train_to: date, last: date) -> BenchData:
        events = events[eligible(events, date.min, last)]
        encoding, terciles = model.description.encoding, model.description.terciles
        trains = events.day <= day_number(train_to)
        training, evaluation_rows = np.flatnonzero(trains), np.flatnonzero(~trains)
        inputs = inputs_of(events, history, encoding, "observation")
        return cls(
            BaselineExamples(events, inputs, targets_of(events, terciles), encoding, training, evaluation_rows),
            EvaluationSet.of(events[evaluation_rows], terciles),
            inputs_of(events[evaluation_rows], history, encoding, "card"),
        )

    @property
    def observed_inputs(self) -> Inputs:
        """Features of the evaluation events in state `observation`."""
        return self.training_examples.inputs[self.training_examples.validation]


def fit_bench_baselines(course: BenchData, seed: int, most_trees: int, log: Callable[[str], None]) -> Baselines:
    """Train the baselines. Their penalties and numbers of trees are chosen on the evaluation events, which can only
    improve their figures. The model is calibrated on these events too."""

    def run(jobs: Sequence[Callable[[], T]], _: Callable[[int], None] = ignore_progress) -> list[T]:
        return serial_executor(jobs, lambda number: log(f"baseline {number} of {len(jobs)} trained"))

    return fit_baselines(course.training_examples, seed, replace(BoostingOptions(), max_trees=most_trees), run)


def forecasts(course: BenchData, model: Ensemble, rivals: Baselines) -> dict[str, Forecast]:
    """Forecasts for the evaluation events by model name. Raises SystemExit if probabilities do not sum to one."""
    by_name = rivals.forecasts(course.observed_inputs)
    by_name[MODEL] = forecast_of(model.probabilities(course.observed_inputs))
    by_name[CARD_ONLY] = forecast_of(model.probabilities(course.card))
    incomplete = [name for name, each in by_name.items() if not is_complete(each.win, course.evaluation_set.events)]
    if incomplete:
        raise SystemExit(f"bench: probabilities that do not sum to one, from: {', '.join(incomplete)}")
    return by_name


def tables(
    course: BenchData, by_model: dict[str, Forecast], seed: int
) -> tuple[list[dict[str, Cell]], list[dict[str, Cell]]]:
    return quality_table(course.evaluation_set, by_model), difference_table(
        course.evaluation_set, by_model, MODEL, seed
    )
