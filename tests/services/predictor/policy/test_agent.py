from __future__ import annotations

import numpy as np
import pytest
import torch

from services.predictor.policy.agent import DqnPolicy, PolicyDescription, policy_of, train_policy
from services.predictor.policy.context import policy_context_of
from services.predictor.policy.environment import SessionState
from services.predictor.policy.hyperparameters import DqnConfig
from shared.errors import ConfigError
from tests.services.predictor.policy.world import SLOTS, World, world

CONFIG = DqnConfig(width=8, market_epochs=1, epochs=1, batch=64)


@pytest.fixture(scope="module")
def season() -> World:
    return world(40, seed=6)


@pytest.fixture(scope="module")
def policy(season: World) -> DqnPolicy:
    return train_policy(season.context, season.episodes, CONFIG, members=2)[0]


def test_a_decision_does_not_depend_on_the_batch(policy: DqnPolicy, season: World) -> None:
    whole = policy.decide(season.context).values
    order = np.random.default_rng(0).permutation(len(season.context))

    shuffled = policy.decide(season.context[order]).values
    alone = np.concatenate([policy.decide(season.context[row : row + 1]).values for row in range(80)])

    np.testing.assert_array_equal(shuffled, whole[order])
    np.testing.assert_array_equal(alone, whole[:80])


def test_a_restored_policy_decides_the_same(policy: DqnPolicy, season: World) -> None:
    description = PolicyDescription.model_validate_json(policy.description.model_dump_json())

    again = policy_of(description, policy.tensors())

    np.testing.assert_array_equal(again.decide(season.context).values, policy.decide(season.context).values)


def test_members_are_averaged(policy: DqnPolicy, season: World) -> None:
    tensors, one = policy.tensors(), policy.description.model_copy(update={"members": 1})
    alone = [
        policy_of(
            one, {f"0.{name[2:]}": tensor for name, tensor in tensors.items() if name.startswith(f"{member}.")}
        ).decide(season.context)
        for member in range(2)
    ]

    values = policy.decide(season.context).values

    np.testing.assert_allclose(values, (alone[0].values + alone[1].values) / 2, atol=2e-6)
    assert not np.array_equal(alone[0].values, alone[1].values)


def test_the_best_action_is_chosen_and_named(policy: DqnPolicy, season: World) -> None:
    result = policy.decide(season.context[:50])

    decisions = result.decisions()

    np.testing.assert_array_equal(result.action, result.values.argmax(axis=1))
    for action, values, decision in zip(result.action, result.values, decisions, strict=True):
        assert decision.action == ("abstain" if action == 0 else f"back {action}")
        assert decision.values == {"abstain": 0.0} | {f"back {slot}": values[slot] for slot in range(1, SLOTS + 1)}


def test_an_empty_slot_cannot_be_backed(policy: DqnPolicy, season: World) -> None:
    occupied = season.events.occupied.copy()
    occupied[:, 1] = False

    result = policy.decide(policy_context_of(season.probabilities, occupied, season.marks))

    assert (result.best_slot != 2).all()
    assert all("back 2" not in each.values for each in result.decisions())


def test_decisions_depend_on_the_session_state(policy: DqnPolicy, season: World) -> None:
    count = len(season.context)
    lost = SessionState(np.full(count, 0.2), np.full(count, 0.8), np.full(count, -0.8))

    assert not np.array_equal(policy.decide(season.context, lost).values, policy.decide(season.context).values)


def test_no_events_give_no_decisions(policy: DqnPolicy, season: World) -> None:
    result = policy.decide(season.context[:0])

    assert result.values.shape == (0, SLOTS + 1)
    assert result.decisions() == []


def test_tensors_of_another_policy_are_refused(policy: DqnPolicy) -> None:
    tensors = policy.tensors()
    broken = {name: each for name, each in tensors.items() if name != "1.entry.weight"}
    wider = tensors | {"0.entry.weight": torch.zeros(3, 3)}

    with pytest.raises(ConfigError, match="member 1 of the policy cannot be read"):
        policy_of(policy.description, broken)
    with pytest.raises(ConfigError, match="member 0 of the policy cannot be read"):
        policy_of(policy.description, wider)
    with pytest.raises(ConfigError, match="tensors that belong to none of its members: 7"):
        policy_of(policy.description, tensors | {"7.entry.weight": tensors["0.entry.weight"]})


def test_a_context_with_other_features_is_refused(policy: DqnPolicy, season: World) -> None:
    bare = policy_context_of(season.probabilities, season.events.occupied)

    with pytest.raises(ConfigError, match="the policy was trained on"):
        policy.decide(bare)
