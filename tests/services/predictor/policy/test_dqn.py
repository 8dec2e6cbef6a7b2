from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from services.predictor.policy.agent import DqnPolicy, train_policy
from services.predictor.policy.dqn import train_network
from services.predictor.policy.environment import play
from services.predictor.policy.hyperparameters import DqnConfig, EpochMetrics
from services.predictor.policy.q_network import QNetwork
from tests.services.predictor.policy.world import World, world

LEARNING = DqnConfig(width=16, market_epochs=6, epochs=3, batch=256, dropout=0.0)
SMALL = DqnConfig(width=8, market_epochs=1, epochs=1, batch=64)


@pytest.fixture(scope="module")
def season() -> World:
    return world(500, seed=11)


@pytest.fixture(scope="module")
def later() -> World:
    return world(500, seed=12)


@pytest.fixture(scope="module")
def trained(season: World) -> tuple[DqnPolicy, list[list[EpochMetrics]]]:
    return train_policy(season.scene, season.episodes, LEARNING, members=1)


def test_the_best_policy_of_a_known_world_is_found(
    trained: tuple[DqnPolicy, list[list[EpochMetrics]]], later: World
) -> None:
    policy, _ = trained

    actions, _ = play(later.episodes, policy.action_chooser(later.scene))

    marked_and_good = later.gain.max(axis=1) > 0.02
    assert later.gained(actions).sum() > 0.85 * later.best.sum()
    assert (actions == later.gain.argmax(axis=1) + 1)[marked_and_good].mean() > 0.85
    assert 0.5 * (later.best > 0).sum() < (actions > 0).sum() < 1.5 * (later.best > 0).sum()


def test_backing_the_most_probable_is_far_worse_there(later: World) -> None:
    assert later.gained(later.told.win.argmax(axis=1) + 1).mean() < -0.1


def test_values_are_what_a_unit_really_brings_on_average(
    trained: tuple[DqnPolicy, list[list[EpochMetrics]]], later: World
) -> None:
    values = trained[0].decide(later.scene).values[:, 1:]

    error = values - later.gain
    assert abs(error.mean()) < 0.05
    assert np.corrcoef(values.ravel(), later.gain.ravel())[0, 1] > 0.9


def test_the_curve_has_a_point_for_every_pass(trained: tuple[DqnPolicy, list[list[EpochMetrics]]]) -> None:
    curve = trained[1][0]

    assert [point.epoch for point in curve] == list(range(9))
    assert all(math.isnan(point.td_loss) for point in curve[:6])
    assert all(math.isfinite(point.td_loss) for point in curve[6:])
    assert curve[5].market_loss < curve[0].market_loss


def test_the_same_seed_gives_the_same_bits() -> None:
    made = world(20, seed=1)

    first, second = (train_network(made.scene, made.episodes, SMALL)[0].state_dict() for _ in range(2))
    other = train_network(made.scene, made.episodes, SMALL.model_copy(update={"seed": 9}))[0].state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_learning_leaves_the_caller_s_random_numbers_where_they_were() -> None:
    made = world(5, seed=1)
    before = torch.get_rng_state()

    train_network(made.scene, made.episodes, SMALL)

    assert torch.equal(before, torch.get_rng_state())


def test_what_is_watched_is_kept_with_every_pass() -> None:
    made = world(10, seed=1)

    def watch(network: QNetwork) -> dict[str, float]:
        assert not network.training
        return {"payback": float(network.log_payback.detach().exp())}

    _, curve = train_network(made.scene, made.episodes, SMALL, watch)

    assert all(0.1 < point.metrics["payback"] < 2.0 for point in curve)


def test_without_shaping_other_weights_are_learned_from_the_same_returns() -> None:
    made = world(20, seed=1)

    with_it = train_network(made.scene, made.episodes, SMALL)[0]
    without = train_network(made.scene, made.episodes, SMALL.model_copy(update={"shaping": False}))[0]

    assert not torch.equal(with_it.session[2].bias, without.session[2].bias)  # type: ignore[arg-type]


def test_a_history_that_paid_nobody_teaches_nothing() -> None:
    made = world(3, seed=1)
    episodes = made.episodes
    episodes.valid[:] = False

    with pytest.raises(ValueError, match="no event paid a winner"):
        train_network(made.scene, episodes, SMALL)
