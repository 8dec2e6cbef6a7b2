"""Walks a model forward over days it has not seen: history grows as results become known, and nothing is refitted.

Every event is read as of its own time: from its observation if it was observed, else from its card.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.predictor.data.events import Events, Ints, State
from services.predictor.data.instants import day_number, day_of
from services.predictor.evaluation.comparison import EvaluationSet, Forecast, eligible
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of, observed_events
from services.predictor.model.ensemble import Ensemble, Probabilities
from services.predictor.policy.agent import PolicyDecisions
from services.predictor.policy.comparison import episodes_as_observed, play_policy, select_rows
from services.predictor.policy.context import PolicyContext
from shared.errors import ConfigError

ALL_ROWS = slice(None)
COLUMNS = "date,stadium,race,boat,p_win,p_top3,bet"


@dataclass(frozen=True)
class Spans:
    """Days (inclusive): training up to `train_to`, validation up to `validate_to`, test from `test_from` to
    `test_to`."""

    train_to: date
    validate_to: date
    test_from: date
    test_to: date

    def check(self) -> None:
        """Raises ConfigError unless the spans follow each other."""
        if self.validate_to <= self.train_to:
            raise ConfigError(f"--validate-to {self.validate_to} must be after --train-to {self.train_to}")
        if self.test_from <= self.validate_to:
            raise ConfigError(
                f"--test-from {self.test_from} must be after --validate-to {self.validate_to}: otherwise the model"
                " is tested on days that it was chosen by"
            )
        if self.test_to < self.test_from:
            raise ConfigError(f"--test-to {self.test_to} must not be before --test-from {self.test_from}")


@dataclass(frozen=True)
class WalkForward:
    """All events of the test span, with the model's inputs and predictions from before their start.

    `rows`: the events that can be evaluated. `decisions`: None without a policy. `context`: the policy's view.
    """

    events: Events
    inputs: Inputs
    probabilities: Probabilities
    context: PolicyContext
    decisions: PolicyDecisions | None
    rows: Ints

    def backed(self, every_event: bool) -> Ints:
        """(rows,): the backed slot, 0 for none. `every_event`: the slot that the policy backs if it may not abstain."""
        if self.decisions is None:
            return np.zeros(len(self.rows), dtype=np.int64)
        return (self.decisions.best_slot if every_event else self.decisions.action)[self.rows]

    @property
    def evaluated_decisions(self) -> PolicyDecisions | None:
        return None if self.decisions is None else select_rows(self.decisions, self.rows)


def walk_forward(model: Ensemble, events: Events, history: History, spans: Spans) -> WalkForward:
    """`history` may hold all settled events: of it, an event only reads what was known before."""
    span = events[(events.day >= day_number(spans.test_from)) & (events.day <= day_number(spans.test_to))]
    inputs = inputs_of(span, history, model.description.encoding, "observation")
    probabilities = model.probabilities(inputs)
    context = model.policy_context(inputs, probabilities)
    decisions = None if model.policy is None else play_policy(model.policy, context, episodes_as_observed(span))
    return WalkForward(span, inputs, probabilities, context, decisions, eligible(span, spans.test_from, spans.test_to))


def evaluation_set_of(model: Ensemble, result: WalkForward) -> EvaluationSet:
    """Raises ConfigError if no event of the span can be evaluated."""
    if not len(result.rows):
        raise ConfigError("no event of the test span has six entries and one winner: the model cannot be evaluated")
    return EvaluationSet.of(result.events[result.rows], model.description.terciles)


def forecast_of(probabilities: Probabilities, rows: Ints | slice = ALL_ROWS) -> Forecast:
    return Forecast(
        probabilities.win[rows], probabilities.top3[rows], probabilities.trend[rows], probabilities.behaviour[rows]
    )


def card_probabilities(model: Ensemble, result: WalkForward, history: History) -> Probabilities:
    """(rows,): the model's predictions of the evaluated events from their cards only."""
    inputs = inputs_of(result.events[result.rows], history, model.description.encoding, "card")
    return model.probabilities(inputs)


def rows_by_state(result: WalkForward) -> dict[State, Ints]:
    """By state, positions of the evaluated events that were predicted in it; states without events are left out."""
    observed = observed_events(result.inputs)[result.rows]
    rows: dict[State, Ints] = {"observation": np.flatnonzero(observed), "card": np.flatnonzero(~observed)}
    return {state: at for state, at in rows.items() if len(at)}


def csv_lines(result: WalkForward, every_event: bool = False) -> Iterator[str]:
    """Lines of the CSV file: six per evaluated event, by day, stadium, race and boat. Probabilities have all their
    digits. `bet` is 1 where the policy backs the boat, on every event or of its own choice."""
    yield COLUMNS
    events, probabilities = result.events, result.probabilities
    actions = dict(zip(result.rows.tolist(), result.backed(every_event).tolist(), strict=True))
    order = np.lexsort((events.number[result.rows], events.venue[result.rows], events.day[result.rows]))
    for row in result.rows[order].tolist():
        event = f"{day_of(int(events.day[row]))},{events.venue[row]},{events.number[row]}"
        backed = actions[row]
        for slot, (win, top3) in enumerate(
            zip(probabilities.win[row].tolist(), probabilities.top3[row].tolist(), strict=True), start=1
        ):
            yield f"{event},{slot},{win!r},{top3!r},{int(backed == slot)}"
