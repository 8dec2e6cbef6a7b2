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
from services.predictor.policy.environment import ABSTAIN, Episodes, SessionState, episodes_of, session_state_at
from services.predictor.storage.interface import StoredDecision
from shared.events import Decision

# A session's events are numbered from 1; no session has had more events.
MAX_EVENTS = 30
# Number of own decisions kept in memory, because they may not be rows yet.
MAX_REMEMBERED = 5_000


class DecisionFacts(Protocol):
    def events(self, event_keys: Sequence[str]) -> list[EventFacts]: ...

    def decisions(self, session_keys: Sequence[str]) -> list[StoredDecision]: ...


class SessionHistory(NamedTuple):
    """The sessions of some events: all their events, the action decided on each (0: none), and the instant of that
    decision. `occupied` (n, S): the slot has an entry."""

    episodes: Episodes
    occupied: Bools
    actions: Ints
    decided_us: Floats
    row_of: Mapping[str, int]


class PolicyRunner:
    """For one thread."""

    def __init__(self, facts: DecisionFacts) -> None:
        self._facts = facts
        self._own_actions: OrderedDict[tuple[str, State, str], tuple[int, float]] = OrderedDict()

    def decide(
        self, model: Model, events: Events, inputs: Inputs, probabilities: Probabilities, state: State, rows: Ints
    ) -> dict[int, Decision | None]:
        """Decisions on these rows of the events, by row; None if the model has no policy."""
        if model.policy is None or not len(rows):
            return dict.fromkeys(rows.tolist())
        context = model.policy_context(inputs, probabilities)
        history = self._session_history(events[rows], model.version, state)
        by_row: dict[int, Decision | None] = {}
        # By position in the session: the decision on an event is part of the session state at the next one.
        position = history.episodes.position()[[history.row_of[str(key)] for key in events.event_key[rows]]]
        for at in np.unique(position):
            here = rows[position == at]
            before = _session_states(history, events[here].event_key.tolist(), int(at))
            decisions = model.policy.decide(context[here], before).decisions()
            for row, decision in zip(here.tolist(), decisions, strict=True):
                by_row[row] = decision
                self._remember(history, (str(events.event_key[row]), state, model.version), decision)
        return by_row

    def _session_history(self, events: Events, version: str, state: State) -> SessionHistory:
        sessions = sorted(set(events.session_key.tolist()))
        keys = {f"{session}:{number:02d}" for session in sessions for number in range(1, MAX_EVENTS + 1)}
        everything = events_of(self._facts.events(sorted(keys | set(events.event_key.tolist()))), events.slots)
        row_of = {str(key): row for row, key in enumerate(everything.event_key)}
        actions = np.full(len(everything), ABSTAIN, dtype=np.int64)
        decided_us = np.full(len(everything), np.inf)
        for each in self._facts.decisions(sessions):
            if (row := row_of.get(each.event_key)) is not None:
                actions[row], decided_us[row] = action_of(each.decision), each.as_of_us
        for key, row in row_of.items():
            actions[row], decided_us[row] = self._own_actions.get(
                (key, state, version), (actions[row], decided_us[row])
            )
        return SessionHistory(episodes_of(everything, state), everything.occupied, actions, decided_us, row_of)

    def _remember(self, history: SessionHistory, key: tuple[str, State, str], decision: Decision) -> None:
        """Remembers a decision of this process, which may not be a row yet."""
        row, action = history.row_of[key[0]], action_of(decision)
        as_of_us = float(history.episodes.as_of_us[row])
        history.actions[row], history.decided_us[row] = action, as_of_us
        self._own_actions[key] = (action, as_of_us)
        while len(self._own_actions) > MAX_REMEMBERED:
            self._own_actions.popitem(last=False)


def action_of(decision: Decision) -> int:
    """`back 3` -> 3; anything else is no stake."""
    word, _, slot = decision.action.partition(" ")
    return int(slot) if word == "back" and slot.isdigit() else ABSTAIN


def _session_states(history: SessionHistory, keys: Sequence[str], at: int) -> SessionState:
    """Session states at position `at`, in the order of the keys. Actions decided after the decision at this position
    are ignored. A stake on an event that had not settled by then counts, because a refund was not known yet.

    `session_state_at` returns every session that has this position, in the order of the grid."""
    episodes = history.episodes
    here = episodes.grid[episodes.grid[:, at] >= 0]
    as_of = np.full(len(episodes), -np.inf)
    as_of[here[here >= 0]] = np.repeat(episodes.as_of_us[here[:, at]], (here >= 0).sum(axis=1))
    actions = np.where(history.decided_us <= as_of, history.actions, ABSTAIN)
    valid = np.where((episodes.settled_us <= as_of)[:, None], episodes.valid, history.occupied)
    rows = here[:, at].tolist()
    order = [rows.index(history.row_of[key]) for key in keys]
    return session_state_at(replace(episodes, valid=valid), actions, at)[np.array(order, dtype=np.int64)]
