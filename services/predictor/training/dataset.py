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
from services.predictor.features.encoding import Encoding, fit_encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import encode
from services.predictor.features.names import feature_names
from services.predictor.features.values import feature_values
from services.predictor.learners.base_rates import BaseRates, fit_base_rates
from services.predictor.learners.network.fit import Examples
from services.predictor.learners.network.network import LinearInit, Shape
from shared.errors import ConfigError

# With fewer events, the validation part is only a handful.
MIN_EVENTS = 100


@dataclass(frozen=True)
class TrainingSet:
    """`rows`: by state, the validation events that can be evaluated. `rates`: base rates of the training events."""

    events: Events
    encoding: Encoding
    examples: Examples
    shape: Shape
    rows: dict[State, Ints]
    rates: BaseRates
    profile: Profile

    @property
    def winner(self) -> Ints:
        return self.examples.targets.winner


def training_set_of(events: Events, profile: Profile, split: Split, without: Sequence[str] = ()) -> TrainingSet:
    """`without`: feature groups that are treated as unknown, to measure their contribution.

    Raises ConfigError if there are too few events.
    """
    events = events[(events.day <= day_number(split.validate_to)) & (events.status == "settled")]
    events = events[np.isfinite(events.listed_us) & (events.occupied.sum(axis=1) >= 2)]
    training = events.day <= day_number(split.train_to)
    training_count, validation_count = (
        int((training & events.has_winner).sum()),
        int((~training & events.has_winner).sum()),
    )
    if training_count < MIN_EVENTS or not validation_count:
        raise ConfigError(
            f"training needs at least {MIN_EVENTS} settled events with their cards and a winner up to"
            f" {split.train_to} and some to validate on up to {split.validate_to}, found {training_count} and"
            f" {validation_count}"
        )
    history = History(profile)
    history.fold(events)
    names = feature_names(events[training], profile)
    values = {state: feature_values(events, history, names, state) for state in STATES}
    encoding = fit_encoding(names, values["observation"], training)
    inputs = {state: encode(state_values, encoding) for state, state_values in values.items()}
    for group in without:
        inputs = {state: state_inputs.without_group(encoding, group) for state, state_inputs in inputs.items()}
    targets = targets_of(events, terciles_of(events[training]))
    observed = values["observation"].observed
    validating = ~training & (targets.winner >= 0)
    rates = fit_base_rates(events.occupied[training], events.place[training], targets[training])
    empty = np.zeros(0)
    linear_init = LinearInit(empty, empty, empty, empty, rates.slots.top3)
    examples = Examples(inputs, observed, targets, training, validating, linear_init)
    shape = Shape(
        slots=events.slots,
        entry_features=inputs["card"].entry.shape[2],
        event_features=inputs["card"].event.shape[1],
        venues=len(names.venues),
        start_values=inputs["card"].starts.shape[3],
    )
    states = [state for state in STATES if is_trainable(examples, state)]
    rows = {state: np.flatnonzero(validating & known_in_state(examples, state)) for state in states}
    return TrainingSet(events, encoding, examples, shape, rows, rates, profile)


def known_in_state(examples: Examples, state: State) -> Bools:
    """(n,): the events that are known in this state."""
    return examples.observed if state == "observation" else np.ones(len(examples.observed), dtype=np.bool_)


def is_trainable(examples: Examples, state: State) -> bool:
    """Whether there are enough events to train on this state. A source may have no observations, or only recent
    ones."""
    usable = known_in_state(examples, state)
    trainable = examples.training & usable & (examples.targets.winner >= 0)
    return bool(trainable.sum() >= MIN_EVENTS and (examples.validation & usable).any())
