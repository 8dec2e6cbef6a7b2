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
STAKED = 100.0
"""`win_amount` is the payout per one hundred staked."""


@dataclass(frozen=True)
class SoFar:
    """The session as known at each of n decisions, divided by its number of events, so that sessions are comparable.

    `remaining` (n,): events from this one on. `staked` (n,): units staked before, minus those known to be refunded.
    `net` (n,): return minus stake of the bets whose settlement is known.
    """

    left: Floats
    staked: Floats
    net: Floats

    def __len__(self) -> int:
        return len(self.left)

    def __getitem__(self, rows: Ints | slice) -> SoFar:
        return SoFar(self.left[rows], self.staked[rows], self.net[rows])

    def matrix(self) -> Floats:
        """(n, 3): remaining, staked, net."""
        return np.stack([self.left, self.staked, self.net], axis=1)


SO_FAR_WIDTH = 3
Choose = Callable[[Ints, SoFar], Ints]
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
    counts: Bools
    as_of_us: Floats
    settled_us: Floats

    def __len__(self) -> int:
        return len(self.reward)

    def length(self) -> Floats:
        """(n,): how many events the session of each event has."""
        there = self.grid >= 0
        found = np.zeros(len(self))
        found[self.grid[there]] = np.repeat(there.sum(axis=1), there.sum(axis=1))
        return found

    def position(self) -> Ints:
        """(n,): the position of each event in its session, from 0."""
        there = self.grid >= 0
        found = np.zeros(len(self), dtype=np.int64)
        found[self.grid[there]] = np.nonzero(there)[1]
        return found

    def following(self) -> Ints:
        """(n,): the row of the next event of the session, -1 after the last."""
        found = np.full(len(self), -1, dtype=np.int64)
        there = self.grid[:, :-1] >= 0
        found[self.grid[:, :-1][there]] = self.grid[:, 1:][there]
        return found

    def gain(self, actions: Ints) -> Floats:
        """(n,): the reward of each event's action; 0 for abstaining and for a refunded stake."""
        return np.asarray(np.where(actions == ABSTAIN, 0.0, _of_slot(self.reward, actions)), dtype=np.float64)

    def bets(self, actions: Ints) -> Bools:
        """(n,): a unit was staked and counts."""
        return np.asarray((actions != ABSTAIN) & _of_slot(self.counts, actions), dtype=np.bool_)


def episodes_of(events: Events, state: State) -> Episodes:
    """Events of a session are ordered by schedule, then number. A stake does not count on an event that paid no winner
    (called off, void, or a market without a winning ticket), nor on a refunded entry."""
    paid = (events.status == "settled") & np.isfinite(events.win_amount).any(axis=1)
    counts = paid[:, None] & events.taken & ~events.refunded
    reward = np.where(counts, np.nan_to_num(events.win_amount) / STAKED - 1.0, 0.0)
    return Episodes(_grid(events), reward, counts, events.as_of_us(state), events.settled_us)


def play(episodes: Episodes, choose: Choose) -> tuple[Ints, SoFar]:
    """Plays every session in order. Returns the actions (n,) that `choose` takes and the session state at each."""
    actions = np.zeros(len(episodes), dtype=np.int64)
    seen = np.zeros((len(episodes), SO_FAR_WIDTH))
    for at in range(episodes.grid.shape[1]):
        rows = episodes.grid[episodes.grid[:, at] >= 0, at]
        before = so_far(episodes, actions, at)
        actions[rows] = choose(rows, before)
        seen[rows] = before.matrix()
    return actions, SoFar(*seen.T)


def so_far(episodes: Episodes, actions: Ints, at: int) -> SoFar:
    """State at the decision at position `at`, of every session that has one, from the actions at earlier positions."""
    here = episodes.grid[:, at] >= 0
    former = episodes.grid[here, :at]
    length = (episodes.grid[here] >= 0).sum(axis=1)
    as_of = episodes.as_of_us[episodes.grid[here, at]]
    known = episodes.settled_us[former] <= as_of[:, None]
    return SoFar(
        left=(length - at) / length,
        staked=((actions != ABSTAIN)[former] & ~(known & ~episodes.bets(actions)[former])).sum(axis=1) / length,
        net=np.where(known, episodes.gain(actions)[former], 0.0).sum(axis=1) / length,
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
    place = np.arange(len(order)) - start
    grid = np.full((int(session.max()) + 1, int(place.max()) + 1), -1, dtype=np.int64)
    grid[session[order], place] = order
    return grid
