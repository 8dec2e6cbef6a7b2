"""Builds the training set: features as of each event's own time, targets, and the train/validation masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import STATES, Bools, Events, Ints, State
from services.predictor.data.instants import day_number
from services.predictor.data.profile import Profile
from services.predictor.data.split import Split
from services.predictor.data.targets import targets_of, terciles_of
from services.predictor.features.encoding import Encoding, encoding_of
from services.predictor.features.history import History
from services.predictor.features.inputs import encoded
from services.predictor.features.names import names_of
from services.predictor.features.values import values_of
from services.predictor.learners.base_rates import BaseRates, base_rates
from services.predictor.learners.network.fit import Lesson
from services.predictor.learners.network.network import Lines, Shape
from shared.errors import ConfigError

# With fewer events, the validation part is only a handful.
LEAST_EVENTS = 100


@dataclass(frozen=True)
class Ground:
    """`rows`: by state, the validation events that can be evaluated. `rates`: base rates of the training events."""

    events: Events
    encoding: Encoding
    lesson: Lesson
    shape: Shape
    rows: dict[State, Ints]
    rates: BaseRates
    profile: Profile

    @property
    def winner(self) -> Ints:
        return self.lesson.targets.winner


def ground_of(events: Events, profile: Profile, split: Split, without: Sequence[str] = ()) -> Ground:
    """`without`: feature groups that are treated as unknown, to measure their contribution.

    Raises ConfigError if there are too few events.
    """
    events = events[(events.day <= day_number(split.validate_to)) & (events.status == "settled")]
    events = events[np.isfinite(events.listed_us) & (events.taken.sum(axis=1) >= 2)]
    training = events.day <= day_number(split.train_to)
    taught, kept = int((training & events.has_winner).sum()), int((~training & events.has_winner).sum())
    if taught < LEAST_EVENTS or not kept:
        raise ConfigError(
            f"training needs at least {LEAST_EVENTS} settled events with their cards and a winner up to"
            f" {split.train_to} and some to validate on up to {split.validate_to}, found {taught} and {kept}"
        )
    history = History(profile)
    history.fold(events)
    names = names_of(events[training], profile)
    values = {state: values_of(events, history, names, state) for state in STATES}
    encoding = encoding_of(names, values["observation"], training)
    inputs = {state: encoded(found, encoding) for state, found in values.items()}
    for group in without:
        inputs = {state: found.without(encoding, group) for state, found in inputs.items()}
    targets = targets_of(events, terciles_of(events[training]))
    observed = values["observation"].observed
    judged = ~training & (targets.winner >= 0)
    rates = base_rates(events.taken[training], events.place[training], targets[training])
    nothing = np.zeros(0)
    lines = Lines(nothing, nothing, nothing, nothing, rates.slots.top3)
    lesson = Lesson(inputs, observed, targets, training, judged, lines)
    shape = Shape(
        slots=events.slots,
        entry_features=inputs["card"].entry.shape[2],
        event_features=inputs["card"].event.shape[1],
        venues=len(names.venues),
        start_values=inputs["card"].starts.shape[3],
    )
    states = [state for state in STATES if is_taught(lesson, state)]
    rows = {state: np.flatnonzero(judged & seen_in(lesson, state)) for state in states}
    return Ground(events, encoding, lesson, shape, rows, rates, profile)


def seen_in(lesson: Lesson, state: State) -> Bools:
    """(n,): the events that are known in this state."""
    return lesson.observed if state == "observation" else np.ones(len(lesson.observed), dtype=np.bool_)


def is_taught(lesson: Lesson, state: State) -> bool:
    """Whether there are enough events to train on this state. A source may have no observations, or only recent
    ones."""
    usable = seen_in(lesson, state)
    taught = lesson.training & usable & (lesson.targets.winner >= 0)
    return bool(taught.sum() >= LEAST_EVENTS and (lesson.validating & usable).any())
