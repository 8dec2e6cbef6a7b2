from __future__ import annotations

import numpy as np
import pytest

from services.predictor.data.events import Ints, events_of
from services.predictor.policy.environment import Episodes, SessionState, episodes_of, play, session_state_at
from tests.services.predictor.policy.world import HOUR_US, SLOTS, event, world


def episodes(*found: object) -> Episodes:
    return episodes_of(events_of(found, SLOTS), "observation")  # type: ignore[arg-type]


def always(slot: int) -> object:
    return lambda rows, _: np.full(len(rows), slot)


def test_a_session_is_gone_through_in_the_order_of_its_schedule() -> None:
    found = episodes(event(3, {1: 200}), event(1, {1: 200}), event(2, {1: 200}, session="b"), event(2, {1: 200}))

    assert found.grid.tolist() == [[1, 3, 0], [2, -1, -1]]
    assert found.next_rows().tolist() == [-1, 3, -1, 0]
    assert found.position().tolist() == [2, 0, 0, 1]
    assert found.length().tolist() == [3, 3, 1, 3]


def test_a_backed_winner_brings_its_payment_less_the_unit_and_others_lose_it() -> None:
    found = episodes(event(1, {2: 350}))

    assert found.reward.tolist() == [[-1.0, 2.5, -1.0]]
    assert found.gain(np.array([0])).tolist() == [0.0]
    assert found.gain(np.array([2])).tolist() == [2.5]


def test_both_winners_of_a_dead_heat_are_paid() -> None:
    assert episodes(event(1, {1: 120, 3: 300})).reward.tolist() == [[pytest.approx(0.2), -1.0, 2.0]]


def test_a_refunded_entry_is_neither_stake_nor_return() -> None:
    found = episodes(event(1, {1: 200}, refunded=(3,)))

    assert found.valid.tolist() == [[True, True, False]]
    assert found.gain(np.array([3])).tolist() == [0.0]
    assert found.bets(np.array([3])).tolist() == [False]


@pytest.mark.parametrize("status", ["void", "cancelled", "postponed", "observed"])
def test_an_event_without_settlement_takes_no_stake(status: str) -> None:
    assert not episodes(event(1, {1: 200}, status=status)).valid.any()


def test_a_settled_event_that_paid_nobody_takes_no_stake() -> None:
    assert not episodes(event(1, {})).valid.any()


def test_a_decision_knows_an_outcome_only_once_it_was_settled() -> None:
    late = event(1, {1: 300}, settled_us=2.5 * HOUR_US)
    found = episodes(late, event(2, {1: 150}), event(3, {1: 200}))

    _, seen = play(found, always(1))  # type: ignore[arg-type]

    assert seen.net.tolist() == [0.0, 0.0, pytest.approx((2.0 + 0.5) / 3)]
    assert seen.staked.tolist() == [0.0, pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert seen.remaining.tolist() == [1.0, pytest.approx(2 / 3), pytest.approx(1 / 3)]


def test_a_stake_is_spent_until_its_refund_is_known() -> None:
    late = event(1, {1: 300}, refunded=(2,), settled_us=2.5 * HOUR_US)
    found = episodes(late, event(2, {1: 150}), event(3, {1: 200}))

    _, seen = play(found, always(2))  # type: ignore[arg-type]

    assert (seen.staked * 3).tolist() == [0.0, pytest.approx(1.0), pytest.approx(1.0)]


def test_what_comes_after_a_decision_cannot_be_seen_in_its_session() -> None:
    made = world(40, seed=3)
    rng = np.random.default_rng(0)
    actions = rng.integers(0, SLOTS + 1, len(made.events))
    other = made.episodes
    at = 3
    later = other.grid[:, at:].ravel()
    changed = Episodes(other.grid, other.reward.copy(), other.valid.copy(), other.as_of_us, other.settled_us)
    changed.reward[later] = 99.0
    changed.valid[later] = False

    before = session_state_at(other, actions, at)
    after = session_state_at(changed, np.where(np.isin(np.arange(len(actions)), later), 0, actions), at)

    np.testing.assert_array_equal(before.matrix(), after.matrix())


def test_a_policy_is_asked_about_every_event_once() -> None:
    made = world(5, seed=1).episodes
    asked: list[int] = []

    def choose(rows: Ints, sessions: SessionState) -> Ints:
        assert len(rows) == len(sessions)
        asked.extend(rows.tolist())
        return rows % (SLOTS + 1)

    actions, _ = play(made, choose)

    assert sorted(asked) == list(range(len(made)))
    assert actions.tolist() == [row % (SLOTS + 1) for row in range(len(made))]
