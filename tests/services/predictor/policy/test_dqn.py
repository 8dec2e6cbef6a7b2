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

CONFIG = DqnConfig(width=16, market_epochs=6, epochs=3, batch=256, dropout=0.0)
SMALL = DqnConfig(width=8, market_epochs=1, epochs=1, batch=64)


@pytest.fixture(scope="module")
def season() -> World:
    return world(500, seed=11)


@pytest.fixture(scope="module")
def later() -> World:
    return world(500, seed=12)


@pytest.fixture(scope="module")
def trained(season: World) -> tuple[DqnPolicy, list[list[EpochMetrics]]]:
    return train_policy(season.context, season.episodes, CONFIG, members=1)


def test_the_best_policy_of_a_known_world_is_found(
    trained: tuple[DqnPolicy, list[list[EpochMetrics]]], later: World
) -> None:
    policy, _ = trained

    actions, _ = play(later.episodes, policy.action_chooser(later.context))

    marked_and_good = later.gain.max(axis=1) > 0.02
    assert later.mean_gain(actions).sum() > 0.85 * later.best.sum()
    assert (actions == later.gain.argmax(axis=1) + 1)[marked_and_good].mean() > 0.85
    assert 0.5 * (later.best > 0).sum() < (actions > 0).sum() < 1.5 * (later.best > 0).sum()


def test_backing_the_most_probable_is_far_worse_there(later: World) -> None:
    assert later.mean_gain(later.probabilities.win.argmax(axis=1) + 1).mean() < -0.1


def test_values_approximate_the_true_mean_gain(
    trained: tuple[DqnPolicy, list[list[EpochMetrics]]], later: World
) -> None:
    values = trained[0].decide(later.context).values[:, 1:]

    error = values - later.gain
    assert abs(error.mean()) < 0.05
    assert np.corrcoef(values.ravel(), later.gain.ravel())[0, 1] > 0.9


def test_the_curve_has_a_point_for_every_epoch(trained: tuple[DqnPolicy, list[list[EpochMetrics]]]) -> None:
    curve = trained[1][0]

    assert [point.epoch for point in curve] == list(range(9))
    assert all(math.isnan(point.td_loss) for point in curve[:6])
    assert all(math.isfinite(point.td_loss) for point in curve[6:])
    assert curve[5].market_loss < curve[0].market_loss


def test_the_same_seed_gives_the_same_bits() -> None:
    data = world(20, seed=1)

    first, second = (train_network(data.context, data.episodes, SMALL)[0].state_dict() for _ in range(2))
    other = train_network(data.context, data.episodes, SMALL.model_copy(update={"seed": 9}))[0].state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_training_does_not_change_the_global_generator() -> None:
    data = world(5, seed=1)
    before = torch.get_rng_state()

    train_network(data.context, data.episodes, SMALL)

    assert torch.equal(before, torch.get_rng_state())


def test_the_metrics_of_every_epoch_are_kept() -> None:
    data = world(10, seed=1)

    def evaluate(network: QNetwork) -> dict[str, float]:
        assert not network.training
        return {"payback": float(network.log_payback.detach().exp())}

    _, curve = train_network(data.context, data.episodes, SMALL, evaluate)

    assert all(0.1 < point.metrics["payback"] < 2.0 for point in curve)


def test_shaping_changes_the_learned_weights() -> None:
    data = world(20, seed=1)

    with_shaping = train_network(data.context, data.episodes, SMALL)[0]
    without = train_network(data.context, data.episodes, SMALL.model_copy(update={"shaping": False}))[0]

    assert not torch.equal(with_shaping.session[2].bias, without.session[2].bias)  # type: ignore[arg-type]


def test_a_history_without_payouts_is_refused() -> None:
    data = world(3, seed=1)
    episodes = data.episodes
    episodes.valid[:] = False

    with pytest.raises(ValueError, match="no event paid a winner"):
        train_network(data.context, episodes, SMALL)
