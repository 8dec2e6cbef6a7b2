"""The agent and simple policies on the same events: what each knows, and what it would do if it had to bet."""

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


def test_what_was_not_observed_is_decided_on_at_its_card() -> None:
    seen, unseen = event(1, {1: 150}), event(2, {1: 150})._replace(observed_us=None, listed_us=0.5 * HOUR_US)

    episodes = episodes_as_observed(events_of([seen, unseen], SLOTS))

    assert episodes.as_of_us.tolist() == [HOUR_US, 0.5 * HOUR_US]


def test_an_agent_that_abstains_is_still_compared_by_what_it_thinks_most_of() -> None:
    values = np.array([[0.0, -0.2, -0.1, -0.3], [0.0, 0.1, -0.1, 0.3]])

    choice = agent_choice(PolicyDecisions(values.argmax(axis=1), values))

    assert choice.action.tolist() == [2, 3]
    assert choice.worth.tolist() == [-0.1, 0.3]
    assert choice.wants_bet.tolist() == [False, True]


def test_a_later_decision_knows_how_its_session_went() -> None:
    made = world(40, seed=1)
    policy, _ = train_policy(made.scene, made.episodes, DqnConfig(market_epochs=1, epochs=1, width=8), members=1)

    decided = play_policy(policy, made.scene, episodes_as_observed(made.events))

    as_if_first = policy.decide(made.scene).values
    first = made.episodes.position() == 0
    np.testing.assert_array_equal(decided.values[first], as_if_first[first])
    assert (decided.values[~first] != as_if_first[~first]).any()
    some = np.array([3, 1])
    np.testing.assert_array_equal(select_rows(decided, some).values, decided.values[some])


def test_all_policies_choose_among_the_same_events() -> None:
    past, now = world(400, seed=1), world(100, seed=2)
    found = choices(None, now.scene, seed=3) | learned_choices(
        now.scene, PolicyTrainingData(past.scene, past.episodes), 0.99
    )

    assert list(found) == [FIRST, RANDOM, MOST_PROBABLE, EXPECTED, BOOSTED]
    assert (found[FIRST].action == 1).all()
    assert (found[MOST_PROBABLE].action == now.told.win.argmax(axis=1) + 1).all()
    assert (choices(None, now.scene, seed=3)[RANDOM].action == found[RANDOM].action).all()
    assert (choices(None, now.scene, seed=4)[RANDOM].action != found[RANDOM].action).any()
    rows, back = np.arange(len(now.events)), now.gain
    assert back[rows, found[EXPECTED].action - 1].mean() > back[rows, found[MOST_PROBABLE].action - 1].mean()
    assert AGENT not in found
