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
from services.predictor.evaluation.comparison import Judged, Opinion, eligible
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of, observed_in
from services.predictor.model.ensemble import Probabilities, Trained
from services.predictor.policy.agent import Decided
from services.predictor.policy.comparison import as_known, part, played
from services.predictor.policy.context import Scene
from shared.errors import ConfigError

EVERY = slice(None)
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
class Walked:
    """All events of the test span, with the model's inputs and predictions from before their start.

    `rows`: the events that can be evaluated. `decisions`: None without a policy. `context`: the policy's view.
    """

    events: Events
    seen: Inputs
    told: Probabilities
    scene: Scene
    decided: Decided | None
    rows: Ints

    def backed(self, every_event: bool) -> Ints:
        """(rows,): the backed slot, 0 for none. `every_event`: the slot that the policy backs if it may not abstain."""
        if self.decided is None:
            return np.zeros(len(self.rows), dtype=np.int64)
        return (self.decided.best_slot if every_event else self.decided.action)[self.rows]

    @property
    def decided_on(self) -> Decided | None:
        return None if self.decided is None else part(self.decided, self.rows)


def walk(model: Trained, events: Events, history: History, spans: Spans) -> Walked:
    """`history` may hold all settled events: of it, an event only reads what was known before."""
    span = events[(events.day >= day_number(spans.test_from)) & (events.day <= day_number(spans.test_to))]
    seen = inputs_of(span, history, model.description.encoding, "observation")
    told = model.probabilities(seen)
    scene = model.scene(seen, told)
    decided = None if model.policy is None else played(model.policy, scene, as_known(span))
    return Walked(span, seen, told, scene, decided, eligible(span, spans.test_from, spans.test_to))


def judged_of(model: Trained, walked: Walked) -> Judged:
    """Raises ConfigError if no event of the span can be evaluated."""
    if not len(walked.rows):
        raise ConfigError("no event of the test span has six entries and one winner: the model cannot be evaluated")
    return Judged.of(walked.events[walked.rows], model.description.terciles)


def opinion_of(told: Probabilities, rows: Ints | slice = EVERY) -> Opinion:
    return Opinion(told.win[rows], told.top3[rows], told.trend[rows], told.behaviour[rows])


def carded(model: Trained, walked: Walked, history: History) -> Probabilities:
    """(rows,): the model's predictions of the evaluated events from their cards only."""
    inputs = inputs_of(walked.events[walked.rows], history, model.description.encoding, "card")
    return model.probabilities(inputs)


def states(walked: Walked) -> dict[State, Ints]:
    """By state, positions of the evaluated events that were predicted in it; states without events are left out."""
    observed = observed_in(walked.seen)[walked.rows]
    found: dict[State, Ints] = {"observation": np.flatnonzero(observed), "card": np.flatnonzero(~observed)}
    return {state: at for state, at in found.items() if len(at)}


def lines(walked: Walked, every_event: bool = False) -> Iterator[str]:
    """Lines of the CSV file: six per evaluated event, by day, stadium, race and boat. Probabilities have all their
    digits. `bet` is 1 where the policy backs the boat, on every event or of its own choice."""
    yield COLUMNS
    events, told = walked.events, walked.told
    actions = dict(zip(walked.rows.tolist(), walked.backed(every_event).tolist(), strict=True))
    order = np.lexsort((events.number[walked.rows], events.venue[walked.rows], events.day[walked.rows]))
    for row in walked.rows[order].tolist():
        event = f"{day_of(int(events.day[row]))},{events.venue[row]},{events.number[row]}"
        backed = actions[row]
        for slot, (win, top3) in enumerate(zip(told.win[row].tolist(), told.top3[row].tolist(), strict=True), start=1):
            yield f"{event},{slot},{win!r},{top3!r},{int(backed == slot)}"
