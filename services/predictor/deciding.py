"""What the policy would do about events, given how their sessions went so far. Pure: facts are passed in.

How a session went is read from what was decided: stored decisions of its earlier events, as of this decision's
instant, and their outcomes where those were known then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from services.predictor.facts import EventFacts, Events, Ints, State, events_of
from services.predictor.policy.environment import ABSTAIN, Episodes, SoFar, episodes_of, so_far
from services.predictor.served import Model, Policy, Probabilities
from services.predictor.stored import Decided
from shared.events import Decision

# A session's events are numbered from 1; none has had more.
MOST_EVENTS = 30
# Decisions that may not be rows yet.
REMEMBERED = 5_000


class DecisionFacts(Protocol):
    def events(self, event_keys: Sequence[str]) -> list[EventFacts]: ...

    def decisions(self, session_keys: Sequence[str]) -> list[Decided]: ...


class Standing(NamedTuple):
    """The sessions of some events as they stand: all their events, and what was decided of them (0: nothing)."""

    episodes: Episodes
    actions: Ints
    row_of: Mapping[str, int]


class Deciding:
    """One thread."""

    def __init__(self, facts: DecisionFacts, policy: Policy | None) -> None:
        self._facts = facts
        self._policy = policy
        self._ours: OrderedDict[tuple[str, State, str], int] = OrderedDict()

    def decide(
        self, model: Model, events: Events, told: Probabilities, state: State, rows: Ints
    ) -> dict[int, Decision | None]:
        """Of these rows of the events, by row; None where there is no policy, or it has no say."""
        if self._policy is None or not len(rows):
            return dict.fromkeys(rows.tolist())
        standing = self._standing(events[rows], model.version, state)
        found: dict[int, Decision | None] = {}
        # Place by place: what is decided of an event is part of how its session stands for the next one.
        place = standing.episodes.position()[[standing.row_of[str(key)] for key in events.event_key[rows]]]
        for at in np.unique(place):
            here = rows[place == at]
            decisions = self._policy.decide(
                model, events[here], rows_of(told, here), _so_far(standing, events[here].event_key.tolist(), int(at))
            )
            for row, decision in zip(here.tolist(), decisions, strict=True):
                found[row] = decision
                self._note(standing, str(events.event_key[row]), state, model.version, decision)
        return found

    def _standing(self, events: Events, version: str, state: State) -> Standing:
        sessions = sorted(set(events.session_key.tolist()))
        keys = {f"{session}:{number:02d}" for session in sessions for number in range(1, MOST_EVENTS + 1)}
        everything = events_of(self._facts.events(sorted(keys | set(events.event_key.tolist()))), events.slots)
        row_of = {str(key): row for row, key in enumerate(everything.event_key)}
        actions = np.full(len(everything), ABSTAIN, dtype=np.int64)
        for each in self._facts.decisions(sessions):
            if each.state == state and each.model_version == version and each.event_key in row_of:
                actions[row_of[each.event_key]] = action_of(each.decision)
        for key, row in row_of.items():
            actions[row] = self._ours.get((key, state, version), actions[row])
        return Standing(episodes_of(everything, state), actions, row_of)

    def _note(self, standing: Standing, key: str, state: State, version: str, decision: Decision | None) -> None:
        action = ABSTAIN if decision is None else action_of(decision)
        standing.actions[standing.row_of[key]] = action
        self._ours[key, state, version] = action
        while len(self._ours) > REMEMBERED:
            self._ours.popitem(last=False)


class _Rows(NamedTuple):
    """Some rows of probabilities."""

    win: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    top3: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    trend: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    behaviour: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    embedding: np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def rows_of(told: Probabilities, rows: Ints) -> Probabilities:
    return _Rows(told.win[rows], told.top3[rows], told.trend[rows], told.behaviour[rows], told.embedding[rows])


def action_of(decision: Decision) -> int:
    """`back 3` -> 3; anything else stakes nothing."""
    word, _, slot = decision.action.partition(" ")
    return int(slot) if word == "back" and slot.isdigit() else ABSTAIN


def _so_far(standing: Standing, keys: Sequence[str], at: int) -> SoFar:
    """In the order of the keys. `so_far` gives every session that has such a place, in the order of the grid."""
    grid = standing.episodes.grid
    rows = grid[grid[:, at] >= 0, at].tolist()
    order = [rows.index(standing.row_of[key]) for key in keys]
    return so_far(standing.episodes, standing.actions, at)[np.array(order, dtype=np.int64)]
