from __future__ import annotations

import math

import pytest

from services.predictor.policy.agent import train_policy
from services.predictor.policy.evaluate import choice_of
from services.predictor.policy.hyperparameters import DqnConfig
from services.predictor.policy.learning_curve import network_evaluator
from tests.services.predictor.policy.world import world

CONFIG = DqnConfig(width=8, market_epochs=2, epochs=1, batch=256)


def test_a_curve_has_the_returns_on_events_outside_of_training() -> None:
    season, later = world(60, seed=1), world(60, seed=2)

    policy, curves = train_policy(
        season.context, season.episodes, CONFIG, members=1, evaluate=network_evaluator(later.context, later.episodes)
    )

    last = curves[0][-1].metrics
    choice = choice_of(policy.decide(later.context).values[:, 1:], threshold=0.0)
    gain = later.episodes.gain(choice.action)
    assert last["return"] == pytest.approx(1.0 + gain.mean(), abs=0.01)
    assert last["bets"] == pytest.approx(choice.wants_bet.sum(), abs=3)
    assert all(set(point.metrics) == {"return", "over_first", "bets", "own_return"} for point in curves[0])


def test_a_return_without_bets_is_not_a_number() -> None:
    season, later = world(20, seed=1), world(20, seed=2)
    episodes = later.episodes
    episodes.valid[:] = False

    _, curves = train_policy(
        season.context, season.episodes, CONFIG, members=1, evaluate=network_evaluator(later.context, episodes)
    )

    assert curves[0][-1].metrics["bets"] == 0
    assert math.isnan(curves[0][-1].metrics["own_return"])
