from __future__ import annotations

import numpy as np
import pytest

from services.predictor.data.events import Events, events_of
from services.predictor.evaluation.bootstrap import clusters_of
from services.predictor.policy.environment import episodes_of
from services.predictor.policy.evaluate import (
    EVERY_EVENT,
    NO_BETS,
    OWN_CHOICE,
    BettingChoice,
    ReturnRow,
    choice_of,
    most_worthy,
    return_curve,
    returns_table,
)
from tests.services.predictor.policy.world import SLOTS, event


def four_events() -> Events:
    """Slot 1 wins the first two, slot 2 the third; of the fourth, slot 1 is refunded and slot 3 wins."""
    return events_of(
        [event(1, {1: 150}), event(2, {1: 120}), event(3, {2: 400}), event(4, {3: 900}, refunded=(1,))], SLOTS
    )


def choice(*actions: int, worth: tuple[float, ...] = (4.0, 3.0, 2.0, 1.0), wants_bet: bool = True) -> BettingChoice:
    return BettingChoice(np.array(actions), np.array(worth), np.full(4, wants_bet))


def table(**choices: BettingChoice) -> list[ReturnRow]:
    events = four_events()
    clusters = clusters_of(events.day, events.venue)
    return returns_table("agent", choices, episodes_of(events, "observation"), clusters, shares=(0.5,))


def test_a_return_is_the_payout_per_unit_staked_without_refunds() -> None:
    row = table(agent=choice(1, 1, 1, 1))[0]

    assert (row.policy, row.on, row.bets) == ("agent", EVERY_EVENT, 3)
    assert row.returns.mean == pytest.approx((1.5 + 1.2) / 3)
    assert row.hits == pytest.approx(2 / 3)


def test_both_policies_bet_equally_often_on_their_best_events() -> None:
    rows = table(agent=choice(1, 1, 2, 3, worth=(1.0, 2.0, 4.0, 3.0)), simple=choice(1, 1, 1, 1))

    row = next(row for row in rows if row.against == "simple" and row.on == "most worthy 50%")
    assert row.bets == 2
    assert row.returns.mean == pytest.approx((4.0 + 9.0) / 2)
    assert row.difference is not None
    assert row.difference.mean == pytest.approx((4.0 + 9.0) / 2 - (1.5 + 1.2) / 2)


def test_a_refund_of_one_policy_removes_one_stake_of_the_other() -> None:
    rows = table(agent=choice(1, 1, 2, 3), simple=choice(1, 1, 1, 1))

    row = next(row for row in rows if row.against == "simple" and row.on == EVERY_EVENT)
    assert row.bets == 3
    assert row.returns.mean == pytest.approx((1.5 + 1.2 + 4.0) / 3)


def test_a_policy_does_not_differ_from_itself() -> None:
    rows = table(agent=choice(1, 1, 2, 3), same=choice(1, 1, 2, 3))

    differences = [row.difference for row in rows if row.against == "same"]
    assert len(differences) == 3
    assert all(each is not None and each[:] == (0.0, 0.0, 0.0) for each in differences)


def test_a_policy_that_never_bets_has_no_return() -> None:
    rows = table(agent=choice(1, 1, 2, 3, wants_bet=False), simple=choice(1, 1, 1, 1))

    own = next(row for row in rows if row.policy == "agent" and row.on == OWN_CHOICE)
    against = next(row for row in rows if row.against == "simple" and row.on == "as many as agent chose")
    for row in (own, against):
        assert row.bets == 0
        assert row.note == NO_BETS
        assert np.isnan(row.returns.mean)
        assert row.difference is None
    assert all(row.note == "" for row in rows if row.bets)


def test_a_policy_wants_bets_that_are_worth_more_than_abstaining() -> None:
    best = choice_of(np.array([[0.1, -0.2], [-0.3, -0.1], [-np.inf, 0.4]]), threshold=0.0)

    assert best.action.tolist() == [1, 2, 2]
    assert best.wants_bet.tolist() == [True, False, True]
    assert best.worth.tolist() == [0.1, -0.1, 0.4]


def test_the_most_worthy_bets_are_counted_without_refunds() -> None:
    episodes = episodes_of(four_events(), "observation")

    selected = most_worthy(choice(1, 1, 1, 1, worth=(1.0, 2.0, 3.0, 4.0)), episodes, 2)

    assert selected.tolist() == [False, True, True, False]


def test_a_return_curve_ends_with_every_event() -> None:
    events = four_events()
    episodes, clusters = episodes_of(events, "observation"), clusters_of(events.day, events.venue)

    curve = return_curve("agent", choice(1, 1, 2, 3), episodes, clusters, shares=(0.25, 1.0))

    assert curve.bets == (1, 4)
    assert curve.returns[0].mean == pytest.approx(1.5)
    assert curve.returns[1].mean == pytest.approx((1.5 + 1.2 + 4.0 + 9.0) / 4)
