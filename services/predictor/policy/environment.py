"""Sessions as episodes: their events in order, what each action would have brought, what was known when.

An action is a number: 0 abstains, k backs slot k with one unit in the market of winners. An episode is one session.
What an action did to the session is known to a later decision only as far as it would have been in life: a stake at
once, a return when the event's settlement was known at that decision's `as_of`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.predictor.data.events import Bools, Events, Floats, Ints, State

ABSTAIN = 0
STAKED = 100.0
"""`win_amount` tells what one hundred staked was paid."""


@dataclass(frozen=True)
class SoFar:
    """The session as known at each of n decisions, in shares of its number of events, so that sessions compare.

    `left` (n,) events from this one on; `staked` (n,) units staked before, less those known to have been given back;
    `net` (n,) return less stake of those of them whose settlement is known.
    """

    left: Floats
    staked: Floats
    net: Floats

    def __len__(self) -> int:
        return len(self.left)

    def __getitem__(self, rows: Ints | slice) -> SoFar:
        return SoFar(self.left[rows], self.staked[rows], self.net[rows])

    def matrix(self) -> Floats:
        """(n, 3): left, staked, net."""
        return np.stack([self.left, self.staked, self.net], axis=1)


SO_FAR_WIDTH = 3
Choose = Callable[[Ints, SoFar], Ints]
"""Rows of events and the sessions so far -> an action for each."""


@dataclass(frozen=True)
class Episodes:
    """n events of S slots as s sessions of at most L events.

    `grid` (s, L): rows of events in their order, -1 where the session is shorter. `reward` (n, S): what backing a slot
    brings, less the unit staked; 0 where nothing is staked. `counts` (n, S): a stake there would stand (settled, paid,
    not refunded). `as_of_us`, `settled_us` (n,): when the decision is made, when the outcome is known; NaN unknown.
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
        """(n,): the place of each event in its session, from 0."""
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
        """(n,): the reward of each event's action; abstaining and a stake given back bring nothing."""
        return np.asarray(np.where(actions == ABSTAIN, 0.0, _of_slot(self.reward, actions)), dtype=np.float64)

    def bets(self, actions: Ints) -> Bools:
        """(n,): a unit was staked and stood."""
        return np.asarray((actions != ABSTAIN) & _of_slot(self.counts, actions), dtype=np.bool_)


def episodes_of(events: Events, state: State) -> Episodes:
    """Order within a session: by schedule, then number. An event that paid no winner anything (called off, void, a
    market that found no holder of a winning ticket) takes no stake; neither does a refunded entry."""
    paid = (events.status == "settled") & np.isfinite(events.win_amount).any(axis=1)
    counts = paid[:, None] & events.taken & ~events.refunded
    reward = np.where(counts, np.nan_to_num(events.win_amount) / STAKED - 1.0, 0.0)
    return Episodes(_grid(events), reward, counts, events.as_of_us(state), events.settled_us)


def play(episodes: Episodes, choose: Choose) -> tuple[Ints, SoFar]:
    """(n,) the actions that `choose` takes when every session is gone through in order, and what it knew at each."""
    actions = np.zeros(len(episodes), dtype=np.int64)
    seen = np.zeros((len(episodes), SO_FAR_WIDTH))
    for at in range(episodes.grid.shape[1]):
        rows = episodes.grid[episodes.grid[:, at] >= 0, at]
        before = so_far(episodes, actions, at)
        actions[rows] = choose(rows, before)
        seen[rows] = before.matrix()
    return actions, SoFar(*seen.T)


def so_far(episodes: Episodes, actions: Ints, at: int) -> SoFar:
    """At the decision of place `at` of every session that has one: from the actions of the places before it."""
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
