"""Represents sessions as episodes: their events in order, the reward of each action, and what was known when.

An action is a number: 0 abstains, k backs slot k with one unit in the win market. An episode is one session. A later
decision knows of an earlier action only what would have been known in reality: the stake at once, the return if the
event's settlement was known at the decision's `as_of`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Bools, Events, Floats, Ints, State

ABSTAIN = 0
PAYOUT_BASE = 100.0
"""`win_amount` is the payout per one hundred staked."""


@dataclass(frozen=True)
class SessionState:
    """The session as known at each of n decisions, divided by its number of events, so that sessions are comparable.

    `remaining` (n,): events from this one on. `staked` (n,): units staked before, minus those known to be refunded.
    `net` (n,): return minus stake of the bets whose settlement is known.
    """

    remaining: Floats
    staked: Floats
    net: Floats

    def __len__(self) -> int:
        return len(self.remaining)

    def __getitem__(self, rows: Ints | slice) -> SessionState:
        return SessionState(self.remaining[rows], self.staked[rows], self.net[rows])

    def matrix(self) -> Floats:
        """(n, 3): remaining, staked, net."""
        return np.stack([self.remaining, self.staked, self.net], axis=1)


SESSION_STATE_WIDTH = 3
ChooseActions = Callable[[Ints, SessionState], Ints]
"""Rows of events and the states of their sessions -> an action for each row."""


@dataclass(frozen=True)
class Episodes:
    """n events of S slots as s sessions of at most L events.

    `grid` (s, L): rows of events in order, -1 where the session is shorter. `reward` (n, S): payout of a unit on the
    slot, minus the unit; 0 where a stake does not count. `valid` (n, S): a stake there counts (settled, paid, not
    refunded). `as_of_us`, `settled_us` (n,): when the decision is made and when the outcome is known, in microseconds
    since 1970; NaN if unknown.
    """

    grid: Ints
    reward: Floats
    valid: Bools
    as_of_us: Floats
    settled_us: Floats

    def __len__(self) -> int:
        return len(self.reward)

    def length(self) -> Floats:
        """(n,): how many events the session of each event has."""
        present = self.grid >= 0
        lengths = np.zeros(len(self))
        lengths[self.grid[present]] = np.repeat(present.sum(axis=1), present.sum(axis=1))
        return lengths

    def position(self) -> Ints:
        """(n,): the position of each event in its session, from 0."""
        present = self.grid >= 0
        positions = np.zeros(len(self), dtype=np.int64)
        positions[self.grid[present]] = np.nonzero(present)[1]
        return positions

    def next_rows(self) -> Ints:
        """(n,): the row of the next event of the session, -1 after the last."""
        rows = np.full(len(self), -1, dtype=np.int64)
        present = self.grid[:, :-1] >= 0
        rows[self.grid[:, :-1][present]] = self.grid[:, 1:][present]
        return rows

    def gain(self, actions: Ints) -> Floats:
        """(n,): the reward of each event's action; 0 for abstaining and for a refunded stake."""
        return np.asarray(np.where(actions == ABSTAIN, 0.0, _of_slot(self.reward, actions)), dtype=np.float64)

    def bets(self, actions: Ints) -> Bools:
        """(n,): a unit was staked and counts."""
        return np.asarray((actions != ABSTAIN) & _of_slot(self.valid, actions), dtype=np.bool_)


def episodes_of(events: Events, state: State) -> Episodes:
    """Events of a session are ordered by schedule, then number. A stake does not count on an event that paid no winner
    (called off, void, or a market without a winning ticket), nor on a refunded entry."""
    paid = (events.status == "settled") & np.isfinite(events.win_amount).any(axis=1)
    valid = paid[:, None] & events.occupied & ~events.refunded
    reward = np.where(valid, np.nan_to_num(events.win_amount) / PAYOUT_BASE - 1.0, 0.0)
    return Episodes(_grid(events), reward, valid, events.as_of_us(state), events.settled_us)


def play(episodes: Episodes, choose: ChooseActions) -> tuple[Ints, SessionState]:
    """Plays every session in order. Returns the actions (n,) that `choose` takes and the session state at each."""
    actions = np.zeros(len(episodes), dtype=np.int64)
    states = np.zeros((len(episodes), SESSION_STATE_WIDTH))
    for at in range(episodes.grid.shape[1]):
        rows = episodes.grid[episodes.grid[:, at] >= 0, at]
        before = session_state_at(episodes, actions, at)
        actions[rows] = choose(rows, before)
        states[rows] = before.matrix()
    return actions, SessionState(*states.T)


def session_state_at(episodes: Episodes, actions: Ints, at: int) -> SessionState:
    """State at the decision at position `at`, of every session that has one, from the actions at earlier positions."""
    has_position = episodes.grid[:, at] >= 0
    earlier = episodes.grid[has_position, :at]
    length = (episodes.grid[has_position] >= 0).sum(axis=1)
    as_of = episodes.as_of_us[episodes.grid[has_position, at]]
    known = episodes.settled_us[earlier] <= as_of[:, None]
    return SessionState(
        remaining=(length - at) / length,
        staked=((actions != ABSTAIN)[earlier] & ~(known & ~episodes.bets(actions)[earlier])).sum(axis=1) / length,
        net=np.where(known, episodes.gain(actions)[earlier], 0.0).sum(axis=1) / length,
    )


def _of_slot(values: Floats | Bools, actions: Ints) -> Floats | Bools:
    return values[np.arange(len(actions)), np.maximum(actions - 1, 0)]


def _grid(events: Events) -> Ints:
    if not len(events):
        return np.zeros((0, 0), dtype=np.int64)
    _, session = np.unique(events.session_key.astype(str), return_inverse=True)
    order = np.lexsort((events.number, events.scheduled_us, session))
    first = np.r_[True, session[order][1:] != session[order][:-1]]
    start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    position = np.arange(len(order)) - start
    grid = np.full((int(session.max()) + 1, int(position.max()) + 1), -1, dtype=np.int64)
    grid[session[order], position] = order
    return grid
