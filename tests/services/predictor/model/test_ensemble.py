"""A trained model: the same in every batch, the same after it was written, and refused where its parts do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import orjson
import pytest
import torch

from services.predictor.data.events import STATES, State
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of
from services.predictor.model.ensemble import Description, Trained, trained_of
from services.predictor.policy.environment import SoFar
from shared.errors import ConfigError
from tests.services.predictor.features.pond import POND, arrays
from tests.services.predictor.tiny import POLICY, TINY, pond, trained

Tensors = dict[str, torch.Tensor]
TRAINING = replace(TINY, networks=2, policy=POLICY, policy_members=1)


@dataclass(frozen=True)
class School:
    model: Trained
    inputs: dict[State, Inputs]


@pytest.fixture(scope="module")
def school() -> School:
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


def test_what_is_told_of_one_event_does_not_depend_on_its_batch(school: School) -> None:
    """Networks, trees, pooling and what the policy is shown."""
    inputs = mix(school)
    whole, seen = school.model.probabilities(inputs), school.model.explain(inputs)

    for size in (1, 2, 7, 256, 300):
        for start in range(0, min(300, 12 * size), size):
            rows = slice(start, start + size)
            told = school.model.probabilities(inputs[rows])
            assert_same(told, whole, rows)
            np.testing.assert_array_equal(school.model.explain(inputs[rows]), seen[rows])


def test_every_head_says_probabilities(school: School) -> None:
    inputs = mix(school)

    told = school.model.probabilities(inputs)

    assert not inputs.taken.all()
    np.testing.assert_allclose(told.win.sum(axis=1), 1)
    np.testing.assert_allclose(told.trend.sum(axis=1), 1)
    np.testing.assert_allclose(told.behaviour.sum(axis=2), 1)
    assert (told.win[~inputs.taken] == 0).all()
    assert ((told.top3 > 0) & (told.top3 < 1))[inputs.taken].all()


def test_each_state_is_told_by_its_own_trees_and_pooling(school: School) -> None:
    model, inputs = school.model, school.inputs
    description = model.description
    flat = {
        state: {**description.pooling, state: description.pooling[state].model_copy(update={"networks": 0, "trees": 0})}
        for state in STATES
    }
    for state in STATES:
        of_state = inputs[state][inputs["observation"].event[:, -1] > 0.5]
        before = model.probabilities(of_state).win
        for other in STATES:
            changed = replace(model, description=description.model_copy(update={"pooling": flat[other]}))
            assert np.array_equal(changed.probabilities(of_state).win, before) == (other != state)


def test_nothing_is_told_of_no_events(school: School) -> None:
    told = school.model.probabilities(school.inputs["card"][:0])

    assert told.win.shape == (0, 6)
    assert told.behaviour.shape == (0, 6, 3)


def test_explanations_sum_to_one_where_there_is_a_past(school: School) -> None:
    inputs = school.inputs["observation"]

    found = school.model.explain(inputs)

    some = inputs.started.any(axis=2)
    np.testing.assert_allclose(found[some].sum(axis=1), 1, atol=1e-6)
    assert (found[~some] == 0).all()


def test_a_model_comes_back_from_its_tensors_and_its_description_bit_by_bit(school: School) -> None:
    model, inputs = school.model, mix(school)
    written = orjson.loads(model.description.model_dump_json())
    description = Description.model_validate_json(orjson.dumps(written))

    again = trained_of("20310101-00000001", description, {name: each.clone() for name, each in model.tensors().items()})

    assert description == model.description
    assert again.version == "20310101-00000001"
    assert_same(again.probabilities(inputs), model.probabilities(inputs))
    np.testing.assert_array_equal(again.explain(inputs), model.explain(inputs))
    so_far = SoFar(np.ones(len(inputs)), *np.zeros((2, len(inputs))))
    assert again.policy is not None
    assert model.policy is not None
    np.testing.assert_array_equal(
        again.policy.decide(again.scene(inputs), so_far).values, model.policy.decide(model.scene(inputs), so_far).values
    )
    assert {name: each.shape for name, each in again.tensors().items()} == {
        name: each.shape for name, each in model.tensors().items()
    }


def without(tensors: Tensors, name: str) -> Tensors:
    return {each: value for each, value in tensors.items() if each != name}


BROKEN: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "a network of another shape": (
        lambda t: t | {"network.0.entry_in.weight": torch.zeros(3, 3)}, r"network 0 of model v: .*size mismatch"
    ),
    "a network with a part missing": (lambda t: without(t, "network.1.norm.weight"), r"network 1 .*Missing key"),
    "a network with a part more": (lambda t: t | {"network.0.more": torch.zeros(1)}, r"network 0 .*Unexpected key"),
    "a network more": (lambda t: t | {"network.2.norm.weight": torch.zeros(16)}, r"none of its parts: network\.2"),
    "something unknown": (lambda t: t | {"wish": torch.zeros(1)}, "none of its parts: wish"),
    "trees with a part missing": (lambda t: without(t, "trees.1.value"), "trees 1 .*missing: value"),
    "trees of another shape": (lambda t: t | {"trees.0.value": torch.zeros(1, 1, dtype=torch.float64)}, "trees 0 "),
    "trees of another type": (lambda t: t | {"trees.0.value": torch.zeros(2, 2, dtype=torch.bfloat16)}, "trees 0 "),
    "trees with a part more": (lambda t: t | {"trees.0.more": torch.zeros(1)}, r"none of its parts: trees\.0\.more"),
    "trees that read what is not there": (
        lambda t: t | {"trees.0.feature": torch.where(t["trees.0.feature"] < 0, -1, 9999).int()}, "trees 0 .*read more"
    ),
    "a policy with a part missing": (
        lambda t: without(t, next(name for name in t if name.startswith("policy."))), "policy"
    ),
    "a policy's member more": (lambda t: t | {"policy.7.more": torch.zeros(1)}, "no member of the policy: 7"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_tensors_that_do_not_fit_are_refused(school: School, what: str) -> None:
    broken, words = BROKEN[what]

    with pytest.raises(ConfigError, match=words):
        trained_of("v", school.model.description, broken(school.model.tensors()))


def test_a_description_that_does_not_fit_itself_is_refused(school: School) -> None:
    description = school.model.description
    narrow = description.shape.model_copy(update={"entry_features": 3})

    with pytest.raises(ConfigError, match="entry and event features"):
        trained_of("v", description.model_copy(update={"shape": narrow}), school.model.tensors())
    with pytest.raises(ConfigError, match="none of its parts: policy"):
        trained_of("v", description.model_copy(update={"policy": None}), school.model.tensors())
