"""A synthetic season of sessions whose best policy is known.

Each event has three entries with true win probabilities. The market knows them too, but underestimates entries that
carry a mark. Payouts are 0.8 over the market's share, so the best policy backs an entry where probability x payout is
above one, and abstains elsewhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.predictor.data.events import EntryFacts, EventFacts, Events, Floats, Floats32, Ints, events_of
from services.predictor.policy.context import PolicyContext, policy_context_of
from services.predictor.policy.environment import Episodes, episodes_of

SLOTS, LENGTH = 3, 6
HOUR_US = 3_600_000_000.0
PAYBACK = 0.8
PULL = 0.6


class Probabilities(NamedTuple):
    win: Floats
    top3: Floats
    trend: Floats
    behaviour: Floats
    embedding: Floats


class World(NamedTuple):
    """`gain` (n, S): the true mean of what backing a slot adds."""

    events: Events
    probabilities: Probabilities
    marks: Floats32
    gain: Floats

    @property
    def context(self) -> PolicyContext:
        return policy_context_of(self.probabilities, self.events.occupied, self.marks)

    @property
    def episodes(self) -> Episodes:
        return episodes_of(self.events, "observation")

    @property
    def best(self) -> Floats:
        """(n,): the true mean of the best action's gain."""
        return np.asarray(np.maximum(self.gain.max(axis=1), 0.0), dtype=np.float64)

    def mean_gain(self, actions: Ints) -> Floats:
        """(n,): the true mean of these actions' gain."""
        gains = np.concatenate([np.zeros((len(actions), 1)), self.gain], axis=1)
        return np.asarray(gains[np.arange(len(actions)), actions], dtype=np.float64)


def world(sessions: int, seed: int) -> World:
    rng = np.random.default_rng(seed)
    count = sessions * LENGTH
    win = rng.dirichlet((6.0, 4.0, 3.0), count)
    marks = (rng.random((count, SLOTS)) < 0.2).astype(np.float32)
    share = win * np.exp(-PULL * marks)
    share /= share.sum(axis=1, keepdims=True)
    payout = np.maximum(PAYBACK / share, 1.0)
    winner = (rng.random((count, 1)) > win.cumsum(axis=1)[:, :-1]).sum(axis=1)
    events = [_event(row, int(winner[row]), payout[row]) for row in range(count)]
    probabilities = Probabilities(
        win=win,
        top3=np.full((count, SLOTS), 0.99),
        trend=np.full((count, 3), 1 / 3),
        behaviour=np.full((count, SLOTS, 3), 1 / 3),
        embedding=rng.normal(size=(count, 2)),
    )
    return World(events_of(events, SLOTS), probabilities, marks[:, :, None], win * payout - 1.0)


def event(
    number: int,
    amounts: dict[int, float],
    session: str = "a",
    status: str = "settled",
    refunded: tuple[int, ...] = (),
    settled_us: float | None = None,
) -> EventFacts:
    """At `number` hours; settled half an hour later by default. `amounts`: paid for a stake of 100, by winning slot."""
    start = number * HOUR_US
    return EventFacts(
        event_key=f"{session}:{number}",
        session_key=session,
        day=0,
        venue=1,
        number=number,
        status=status,
        entries=[
            EntryFacts(
                slot=slot,
                place=1.0 if slot in amounts else 2.0,
                refunded=slot in refunded,
                win_amount=amounts.get(slot),
            )
            for slot in range(1, SLOTS + 1)
        ],
        scheduled_us=start,
        listed_us=0.0,
        observed_us=start,
        settled_us=start + HOUR_US / 2 if settled_us is None else settled_us,
    )


def _event(row: int, winner: int, payout: Floats) -> EventFacts:
    session, place = divmod(row, LENGTH)
    return event(place + 1, {winner + 1: 100.0 * float(payout[winner])}, session=f"s{session:05d}")
