"""Compares the agent with simple policies on the same events."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from services.predictor.data.events import Events, Ints
from services.predictor.policy.agent import DqnPolicy, PolicyDecisions
from services.predictor.policy.baselines import always_slot, fit_expected_payout, most_probable, random_worth
from services.predictor.policy.boosted import fit_boosted_policy
from services.predictor.policy.context import PolicyContext
from services.predictor.policy.environment import ABSTAIN, Episodes, episodes_of, play
from services.predictor.policy.evaluate import BettingChoice, choice_of

AGENT, FIRST = "agent (DQN)", "always slot 1"
RANDOM, MOST_PROBABLE, EXPECTED, BOOSTED = "random", "most probable", "p x expected payout", "boosting on return"


@dataclass(frozen=True)
class PolicyTrainingData:
    """Settled events that the simple policies are fitted to."""

    context: PolicyContext
    episodes: Episodes


def episodes_as_observed(events: Events) -> Episodes:
    """Episodes in which each event is decided on at its observation, or at its card if it was not observed."""
    as_of_us = np.where(
        np.isfinite(events.observed_us), np.maximum(events.listed_us, events.observed_us), events.listed_us
    )
    return replace(episodes_of(events, "observation"), as_of_us=as_of_us)


def play_policy(policy: DqnPolicy, context: PolicyContext, episodes: Episodes) -> PolicyDecisions:
    """Decisions of the policy when it plays every session in order."""
    _, before = play(episodes, policy.action_chooser(context))
    return policy.decide(context, before)


def choices(decisions: PolicyDecisions | None, context: PolicyContext, seed: int) -> dict[str, BettingChoice]:
    """Choices by policy name, the agent's first, of the policies that are not fitted to payouts."""
    agent = {} if decisions is None else {AGENT: agent_choice(decisions)}
    return agent | {
        FIRST: choice_of(always_slot(context)),
        RANDOM: choice_of(random_worth(context, np.random.default_rng(seed))),
        MOST_PROBABLE: choice_of(most_probable(context)),
    }


def learned_choices(context: PolicyContext, history: PolicyTrainingData, quantile: float) -> dict[str, BettingChoice]:
    """Choices of the policies that are fitted to history; payouts are clipped at this quantile of all winners' payouts.
    Needs LightGBM."""
    expected = fit_expected_payout(history.context, history.episodes)
    boosted = fit_boosted_policy(history.context, history.episodes, quantile)
    return {EXPECTED: choice_of(expected(context), threshold=0.0), BOOSTED: choice_of(boosted(context), threshold=0.0)}


def agent_choice(decisions: PolicyDecisions) -> BettingChoice:
    return BettingChoice(decisions.best_slot, decisions.values[:, 1:].max(axis=1), decisions.action != ABSTAIN)


def select_rows(decisions: PolicyDecisions, rows: Ints) -> PolicyDecisions:
    return PolicyDecisions(decisions.action[rows], decisions.values[rows])
