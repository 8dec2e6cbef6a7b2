"""A model with all kinds of members and a policy, and its inputs for the season that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np

from services.predictor.data.events import STATES, State
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of
from services.predictor.model.ensemble import Ensemble
from tests.services.predictor.features.irregular_source import SYNTHETIC, arrays
from tests.services.predictor.quick_trainings import POLICY, TINY, tiny_season, train_on

TRAINING = replace(TINY, networks=2, policy=POLICY, policy_members=1)


@dataclass(frozen=True)
class Sample:
    model: Ensemble
    inputs: dict[State, Inputs]


@cache
def sample_of() -> Sample:
    facts = tiny_season()
    model, events = train_on(facts, training=TRAINING).model, arrays(facts)
    history = History(SYNTHETIC)
    history.fold(events)
    encoding = model.description.encoding
    return Sample(model, {state: inputs_of(events, history, encoding, state) for state in STATES})


def mixed_inputs(sample: Sample) -> Inputs:
    """300 inputs, by turns from the card and the observation."""
    parts = [sample.inputs[state][:150] for state in STATES]
    order = np.arange(300).reshape(2, 150).T.ravel()
    return Inputs(*(np.concatenate([getattr(part, each.name) for part in parts])[order] for each in fields(Inputs)))


def assert_same(one: object, other: object, rows: slice = slice(None)) -> None:
    for name in ("win", "top3", "trend", "behaviour", "embedding"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[rows], err_msg=name)
