"""Evaluates the model, and baselines trained on the same features, on the same events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from services.predictor.backtest.baselines import Lessons, Rivals, fit_rivals
from services.predictor.backtest.walk_forward import opinion_of
from services.predictor.data.events import Events
from services.predictor.data.instants import day_number
from services.predictor.data.targets import targets_of
from services.predictor.evaluation.comparison import (
    Judged,
    Opinion,
    complete,
    difference_table,
    eligible,
    quality_table,
)
from services.predictor.evaluation.tables import Cell
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of
from services.predictor.learners.boosting.fit import BoostingOptions
from services.predictor.learners.serial import T, one_by_one, quietly
from services.predictor.model.ensemble import Trained

MODEL, CARD_ONLY = "model", "model, card only"


@dataclass(frozen=True)
class Course:
    """Training and evaluation data: features and targets of events with all slots occupied and one winner."""

    lessons: Lessons
    judged: Judged
    card: Inputs

    @classmethod
    def of(cls, model: Trained, events: Events, history: History, train_to: date, last: date) -> Course:
        events = events[eligible(events, date.min, last)]
        encoding, terciles = model.description.encoding, model.description.terciles
        trains = events.day <= day_number(train_to)
        training, judged = np.flatnonzero(trains), np.flatnonzero(~trains)
        inputs = inputs_of(events, history, encoding, "observation")
        return cls(
            Lessons(events, inputs, targets_of(events, terciles), encoding, training, judged),
            Judged.of(events[judged], terciles),
            inputs_of(events[judged], history, encoding, "card"),
        )

    @property
    def seen(self) -> Inputs:
        """Features of the evaluation events in state `observation`."""
        return self.lessons.inputs[self.lessons.validation]


def rivals_of(course: Course, seed: int, most_trees: int, log: Callable[[str], None]) -> Rivals:
    """Train the baselines. Their penalties and numbers of trees are chosen on the evaluation events, which can only
    improve their figures. The model is calibrated on these events too."""

    def run(jobs: Sequence[Callable[[], T]], _: Callable[[int], None] = quietly) -> list[T]:
        return one_by_one(jobs, lambda number: log(f"baseline {number} of {len(jobs)} trained"))

    return fit_rivals(course.lessons, seed, replace(BoostingOptions(), most_trees=most_trees), run)


def opinions(course: Course, model: Trained, rivals: Rivals) -> dict[str, Opinion]:
    """Forecasts for the evaluation events by model name. Raises SystemExit if probabilities do not sum to one."""
    found = rivals.opinions(course.seen)
    found[MODEL] = opinion_of(model.probabilities(course.seen))
    found[CARD_ONLY] = opinion_of(model.probabilities(course.card))
    wrong = [name for name, each in found.items() if not complete(each.win, course.judged.events)]
    if wrong:
        raise SystemExit(f"bench: probabilities that do not sum to one, from: {', '.join(wrong)}")
    return found


def tables(course: Course, told: dict[str, Opinion], seed: int) -> tuple[list[dict[str, Cell]], list[dict[str, Cell]]]:
    return quality_table(course.judged, told), difference_table(course.judged, told, MODEL, seed)
