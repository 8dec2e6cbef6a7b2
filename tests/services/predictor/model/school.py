"""A model with all kinds of members and a policy, and what it reads of its own season."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np

from services.predictor.data.events import STATES, State
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of
from services.predictor.model.ensemble import Ensemble
from tests.services.predictor.features.pond import POND, arrays
from tests.services.predictor.tiny import POLICY, TINY, pond, trained

TRAINING = replace(TINY, networks=2, policy=POLICY, policy_members=1)


@dataclass(frozen=True)
class School:
    model: Ensemble
    inputs: dict[State, Inputs]


@cache
def school_of() -> School:
    found = pond()
    model, events = trained(found, training=TRAINING).model, arrays(found)
    history = History(POND)
    history.fold(events)
    encoding = model.description.encoding
    return School(model, {state: inputs_of(events, history, encoding, state) for state in STATES})


def mix(school: School) -> Inputs:
    """300 events in both states by turns."""
    parts = [school.inputs[state][:150] for state in STATES]
    order = np.arange(300).reshape(2, 150).T.ravel()
    return Inputs(*(np.concatenate([getattr(part, each.name) for part in parts])[order] for each in fields(Inputs)))


def assert_same(one: object, other: object, rows: slice = slice(None)) -> None:
    for name in ("win", "top3", "trend", "behaviour", "embedding"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[rows], err_msg=name)
