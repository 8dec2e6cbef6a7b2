"""The agent and simple policies on the same events: what each knows, and its best bet even if it abstains."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import events_of
from services.predictor.policy.agent import PolicyDecisions, train_policy
from services.predictor.policy.comparison import (
    AGENT,
    BOOSTED,
    EXPECTED,
    FIRST,
    MOST_PROBABLE,
    RANDOM,
    PolicyTrainingData,
    agent_choice,
    choices,
    episodes_as_observed,
    learned_choices,
    play_policy,
    select_rows,
)
from services.predictor.policy.hyperparameters import DqnConfig
from tests.services.predictor.policy.world import HOUR_US, SLOTS, event, world


def test_an_unobserved_event_is_decided_at_the_time_of_its_card() -> None:
    observed, unobserved = event(1, {1: 150}), event(2, {1: 150})._replace(observed_us=None, listed_us=0.5 * HOUR_US)

    episodes = episodes_as_observed(events_of([observed, unobserved], SLOTS))

    assert episodes.as_of_us.tolist() == [HOUR_US, 0.5 * HOUR_US]


def test_an_agent_that_abstains_is_compared_by_its_best_bet() -> None:
    values = np.array([[0.0, -0.2, -0.1, -0.3], [0.0, 0.1, -0.1, 0.3]])

    choice = agent_choice(PolicyDecisions(values.argmax(axis=1), values))

    assert choice.action.tolist() == [2, 3]
    assert choice.worth.tolist() == [-0.1, 0.3]
    assert choice.wants_bet.tolist() == [False, True]


def test_a_later_decision_knows_the_session_so_far() -> None:
    data = world(40, seed=1)
    policy, _ = train_policy(data.context, data.episodes, DqnConfig(market_epochs=1, epochs=1, width=8), members=1)

    decisions = play_policy(policy, data.context, episodes_as_observed(data.events))

    as_if_first = policy.decide(data.context).values
    first = data.episodes.position() == 0
    np.testing.assert_array_equal(decisions.values[first], as_if_first[first])
    assert (decisions.values[~first] != as_if_first[~first]).any()
    some = np.array([3, 1])
    np.testing.assert_array_equal(select_rows(decisions, some).values, decisions.values[some])


def test_all_policies_choose_among_the_same_events() -> None:
    past, now = world(400, seed=1), world(100, seed=2)
    by_policy = choices(None, now.context, seed=3) | learned_choices(
        now.context, PolicyTrainingData(past.context, past.episodes), 0.99
    )

    assert list(by_policy) == [FIRST, RANDOM, MOST_PROBABLE, EXPECTED, BOOSTED]
    assert (by_policy[FIRST].action == 1).all()
    assert (by_policy[MOST_PROBABLE].action == now.probabilities.win.argmax(axis=1) + 1).all()
    assert (choices(None, now.context, seed=3)[RANDOM].action == by_policy[RANDOM].action).all()
    assert (choices(None, now.context, seed=4)[RANDOM].action != by_policy[RANDOM].action).any()
    rows, gain = np.arange(len(now.events)), now.gain
    assert gain[rows, by_policy[EXPECTED].action - 1].mean() > gain[rows, by_policy[MOST_PROBABLE].action - 1].mean()
    assert AGENT not in by_policy
