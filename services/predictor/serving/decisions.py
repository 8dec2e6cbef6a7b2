"""Runs the policy on events, given the states of their sessions. Facts are passed in.

The state of a session is computed from the stored decisions on its earlier events, as of this decision's instant, and
from their outcomes, if these were known then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np

from services.predictor.data.events import Bools, EventFacts, Events, Floats, Ints, State, events_of
from services.predictor.features.inputs import Inputs
from services.predictor.model.interface import Model, Probabilities
from services.predictor.policy.environment import ABSTAIN, Episodes, SoFar, episodes_of, so_far
from services.predictor.storage.interface import Decided
from shared.events import Decision

# A session's events are numbered from 1; no session has had more events.
MOST_EVENTS = 30
# Number of own decisions kept in memory, because they may not be rows yet.
REMEMBERED = 5_000


class DecisionFacts(Protocol):
    def events(self, event_keys: Sequence[str]) -> list[EventFacts]: ...

    def decisions(self, session_keys: Sequence[str]) -> list[Decided]: ...


class Standing(NamedTuple):
    """The sessions of some events: all their events, the action decided on each (0: none), and the instant of that
    decision. `occupied` (n, S): the slot has an entry."""

    episodes: Episodes
    taken: Bools
    actions: Ints
    decided_us: Floats
    row_of: Mapping[str, int]


class Deciding:
    """For one thread."""

    def __init__(self, facts: DecisionFacts) -> None:
        self._facts = facts
        self._ours: OrderedDict[tuple[str, State, str], tuple[int, float]] = OrderedDict()

    def decide(
        self, model: Model, events: Events, inputs: Inputs, told: Probabilities, state: State, rows: Ints
    ) -> dict[int, Decision | None]:
        """Decisions on these rows of the events, by row; None if the model has no policy."""
        if model.policy is None or not len(rows):
            return dict.fromkeys(rows.tolist())
        scene = model.scene(inputs, told)
        standing = self._standing(events[rows], model.version, state)
        found: dict[int, Decision | None] = {}
        # By position in the session: the decision on an event is part of the session state at the next one.
        place = standing.episodes.position()[[standing.row_of[str(key)] for key in events.event_key[rows]]]
        for at in np.unique(place):
            here = rows[place == at]
            before = _so_far(standing, events[here].event_key.tolist(), int(at))
            decisions = model.policy.decide(scene[here], before).decisions()
            for row, decision in zip(here.tolist(), decisions, strict=True):
                found[row] = decision
                self._note(standing, (str(events.event_key[row]), state, model.version), decision)
        return found

    def _standing(self, events: Events, version: str, state: State) -> Standing:
        sessions = sorted(set(events.session_key.tolist()))
        keys = {f"{session}:{number:02d}" for session in sessions for number in range(1, MOST_EVENTS + 1)}
        everything = events_of(self._facts.events(sorted(keys | set(events.event_key.tolist()))), events.slots)
        row_of = {str(key): row for row, key in enumerate(everything.event_key)}
        actions = np.full(len(everything), ABSTAIN, dtype=np.int64)
        decided_us = np.full(len(everything), np.inf)
        for each in self._facts.decisions(sessions):
            if (row := row_of.get(each.event_key)) is not None:
                actions[row], decided_us[row] = action_of(each.decision), each.as_of_us
        for key, row in row_of.items():
            actions[row], decided_us[row] = self._ours.get((key, state, version), (actions[row], decided_us[row]))
        return Standing(episodes_of(everything, state), everything.taken, actions, decided_us, row_of)

    def _note(self, standing: Standing, decided: tuple[str, State, str], decision: Decision) -> None:
        """Remembers a decision of this process, which may not be a row yet."""
        row, action = standing.row_of[decided[0]], action_of(decision)
        as_of_us = float(standing.episodes.as_of_us[row])
        standing.actions[row], standing.decided_us[row] = action, as_of_us
        self._ours[decided] = (action, as_of_us)
        while len(self._ours) > REMEMBERED:
            self._ours.popitem(last=False)


def action_of(decision: Decision) -> int:
    """`back 3` -> 3; anything else is no stake."""
    word, _, slot = decision.action.partition(" ")
    return int(slot) if word == "back" and slot.isdigit() else ABSTAIN


def _so_far(standing: Standing, keys: Sequence[str], at: int) -> SoFar:
    """Session states at position `at`, in the order of the keys. Actions decided after the decision at this position
    are ignored. A stake on an event that had not settled by then counts, because a refund was not known yet.

    `session_state_at` returns every session that has this position, in the order of the grid."""
    episodes = standing.episodes
    here = episodes.grid[episodes.grid[:, at] >= 0]
    as_of = np.full(len(episodes), -np.inf)
    as_of[here[here >= 0]] = np.repeat(episodes.as_of_us[here[:, at]], (here >= 0).sum(axis=1))
    actions = np.where(standing.decided_us <= as_of, standing.actions, ABSTAIN)
    counts = np.where((episodes.settled_us <= as_of)[:, None], episodes.counts, standing.taken)
    rows = here[:, at].tolist()
    order = [rows.index(standing.row_of[key]) for key in keys]
    return so_far(replace(episodes, counts=counts), actions, at)[np.array(order, dtype=np.int64)]
