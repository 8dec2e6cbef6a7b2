"""A trained model is unchanged by saving, and refused if its parts do not fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import orjson
import pytest
import torch

from services.predictor.model.ensemble import EnsembleDescription
from services.predictor.model.weights import ensemble_of
from services.predictor.policy.environment import SessionState
from shared.errors import ConfigError
from tests.services.predictor.model.full_model import Sample, assert_same, mixed_inputs, sample_of

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def sample() -> Sample:
    return sample_of()


def test_a_model_restored_from_tensors_and_description_is_identical(sample: Sample) -> None:
    model, inputs = sample.model, mixed_inputs(sample)
    written = orjson.loads(model.description.model_dump_json())
    description = EnsembleDescription.model_validate_json(orjson.dumps(written))

    again = ensemble_of(
        "20310101-00000001", description, {name: each.clone() for name, each in model.tensors().items()}
    )

    assert description == model.description
    assert again.version == "20310101-00000001"
    assert_same(again.probabilities(inputs), model.probabilities(inputs))
    np.testing.assert_array_equal(again.explain(inputs), model.explain(inputs))
    so_far = SessionState(np.ones(len(inputs)), *np.zeros((2, len(inputs))))
    assert again.policy is not None
    assert model.policy is not None
    np.testing.assert_array_equal(
        again.policy.decide(again.policy_context(inputs), so_far).values,
        model.policy.decide(model.policy_context(inputs), so_far).values,
    )
    assert {name: each.shape for name, each in again.tensors().items()} == {
        name: each.shape for name, each in model.tensors().items()
    }


def without(tensors: Tensors, name: str) -> Tensors:
    return {each: value for each, value in tensors.items() if each != name}


BROKEN: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "a network of another shape": (
        lambda t: t | {"network.0.entry_in.weight": torch.zeros(3, 3)},
        r"network 0 of model v: .*size mismatch",
    ),
    "a network with a part missing": (lambda t: without(t, "network.1.norm.weight"), r"network 1 .*Missing key"),
    "a network with an extra part": (lambda t: t | {"network.0.more": torch.zeros(1)}, r"network 0 .*Unexpected key"),
    "an extra network": (lambda t: t | {"network.2.norm.weight": torch.zeros(16)}, r"none of its parts: network\.2"),
    "something unknown": (lambda t: t | {"extra": torch.zeros(1)}, "none of its parts: extra"),
    "trees with a part missing": (lambda t: without(t, "trees.1.value"), "trees 1 .*missing: value"),
    "trees of another shape": (lambda t: t | {"trees.0.value": torch.zeros(1, 1, dtype=torch.float64)}, "trees 0 "),
    "trees of another type": (lambda t: t | {"trees.0.value": torch.zeros(2, 2, dtype=torch.bfloat16)}, "trees 0 "),
    "trees with an extra part": (lambda t: t | {"trees.0.more": torch.zeros(1)}, r"none of its parts: trees\.0\.more"),
    "trees that read missing features": (
        lambda t: t | {"trees.0.feature": torch.where(t["trees.0.feature"] < 0, -1, 9999).int()},
        "trees 0 .*use features beyond",
    ),
    "a policy with a part missing": (
        lambda t: without(t, next(name for name in t if name.startswith("policy."))),
        "policy",
    ),
    "an extra policy member": (lambda t: t | {"policy.7.more": torch.zeros(1)}, "belong to none of its members: 7"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_tensors_that_do_not_fit_are_refused(sample: Sample, case: str) -> None:
    broken, message = BROKEN[case]

    with pytest.raises(ConfigError, match=message):
        ensemble_of("v", sample.model.description, broken(sample.model.tensors()))


def test_an_inconsistent_description_is_refused(sample: Sample) -> None:
    description = sample.model.description
    narrow = description.shape.model_copy(update={"entry_features": 3})

    with pytest.raises(ConfigError, match="entry and event features"):
        ensemble_of("v", description.model_copy(update={"shape": narrow}), sample.model.tensors())
    with pytest.raises(ConfigError, match="none of its parts: policy"):
        ensemble_of("v", description.model_copy(update={"policy": None}), sample.model.tensors())
