"""Compares the agent with simple policies on the same events."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from services.predictor.data.events import Events, Ints
from services.predictor.policy.agent import Decided, Policy
from services.predictor.policy.baselines import always_slot, at_random, expected_payout, most_probable
from services.predictor.policy.boosted import boosted_return
from services.predictor.policy.context import Scene
from services.predictor.policy.environment import ABSTAIN, Episodes, episodes_of, play
from services.predictor.policy.evaluate import Choice, choice_of

AGENT, FIRST = "agent (DQN)", "always slot 1"
RANDOM, MOST_PROBABLE, EXPECTED, BOOSTED = "random", "most probable", "p x expected payout", "boosting on return"


@dataclass(frozen=True)
class History:
    """Settled events that the simple policies are fitted to."""

    scene: Scene
    episodes: Episodes


def as_known(events: Events) -> Episodes:
    """Episodes in which each event is decided on at its observation, or at its card if it was not observed."""
    seen = np.where(np.isfinite(events.observed_us), np.maximum(events.listed_us, events.observed_us), events.listed_us)
    return replace(episodes_of(events, "observation"), as_of_us=seen)


def played(policy: Policy, scene: Scene, episodes: Episodes) -> Decided:
    """Decisions of the policy when it plays every session in order."""
    _, before = play(episodes, policy.playing(scene))
    return policy.decide(scene, before)


def choices(decided: Decided | None, scene: Scene, seed: int) -> dict[str, Choice]:
    """Choices by policy name, the agent's first, of the policies that are not fitted to payouts."""
    found = {} if decided is None else {AGENT: agents(decided)}
    return found | {
        FIRST: choice_of(always_slot(scene)),
        RANDOM: choice_of(at_random(scene, np.random.default_rng(seed))),
        MOST_PROBABLE: choice_of(most_probable(scene)),
    }


def learned_choices(scene: Scene, history: History, quantile: float) -> dict[str, Choice]:
    """Choices of the policies that are fitted to history; payouts are clipped at this quantile of all winners' payouts.
    Needs LightGBM."""
    expected = expected_payout(history.scene, history.episodes)
    boosted = boosted_return(history.scene, history.episodes, quantile)
    return {EXPECTED: choice_of(expected(scene), from_worth=0.0), BOOSTED: choice_of(boosted(scene), from_worth=0.0)}


def agents(decided: Decided) -> Choice:
    return Choice(decided.best_slot, decided.values[:, 1:].max(axis=1), decided.action != ABSTAIN)


def part(decided: Decided, rows: Ints) -> Decided:
    return Decided(decided.action[rows], decided.values[rows])
