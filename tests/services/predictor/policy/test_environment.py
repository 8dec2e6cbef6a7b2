from __future__ import annotations

import numpy as np
import pytest

from services.predictor.data.events import Ints, events_of
from services.predictor.policy.environment import Episodes, SessionState, episodes_of, play, session_state_at
from tests.services.predictor.policy.world import HOUR_US, SLOTS, event, world


def episodes(*events: object) -> Episodes:
    return episodes_of(events_of(events, SLOTS), "observation")  # type: ignore[arg-type]


def always(slot: int) -> object:
    return lambda rows, _: np.full(len(rows), slot)


def test_a_session_is_played_in_scheduled_order() -> None:
    result = episodes(event(3, {1: 200}), event(1, {1: 200}), event(2, {1: 200}, session="b"), event(2, {1: 200}))

    assert result.grid.tolist() == [[1, 3, 0], [2, -1, -1]]
    assert result.next_rows().tolist() == [-1, 3, -1, 0]
    assert result.position().tolist() == [2, 0, 0, 1]
    assert result.length().tolist() == [3, 3, 1, 3]


def test_a_backed_winner_gains_its_payout_minus_the_stake_and_others_lose_it() -> None:
    result = episodes(event(1, {2: 350}))

    assert result.reward.tolist() == [[-1.0, 2.5, -1.0]]
    assert result.gain(np.array([0])).tolist() == [0.0]
    assert result.gain(np.array([2])).tolist() == [2.5]


def test_both_winners_of_a_dead_heat_are_paid() -> None:
    assert episodes(event(1, {1: 120, 3: 300})).reward.tolist() == [[pytest.approx(0.2), -1.0, 2.0]]


def test_a_refunded_entry_is_neither_stake_nor_return() -> None:
    result = episodes(event(1, {1: 200}, refunded=(3,)))

    assert result.valid.tolist() == [[True, True, False]]
    assert result.gain(np.array([3])).tolist() == [0.0]
    assert result.bets(np.array([3])).tolist() == [False]


@pytest.mark.parametrize("status", ["void", "cancelled", "postponed", "observed"])
def test_an_event_without_settlement_takes_no_stake(status: str) -> None:
    assert not episodes(event(1, {1: 200}, status=status)).valid.any()


def test_a_settled_event_that_paid_nobody_takes_no_stake() -> None:
    assert not episodes(event(1, {})).valid.any()


def test_a_decision_knows_an_outcome_only_once_it_was_settled() -> None:
    late = event(1, {1: 300}, settled_us=2.5 * HOUR_US)
    result = episodes(late, event(2, {1: 150}), event(3, {1: 200}))

    _, states = play(result, always(1))  # type: ignore[arg-type]

    assert states.net.tolist() == [0.0, 0.0, pytest.approx((2.0 + 0.5) / 3)]
    assert states.staked.tolist() == [0.0, pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert states.remaining.tolist() == [1.0, pytest.approx(2 / 3), pytest.approx(1 / 3)]


def test_a_stake_is_spent_until_its_refund_is_known() -> None:
    late = event(1, {1: 300}, refunded=(2,), settled_us=2.5 * HOUR_US)
    result = episodes(late, event(2, {1: 150}), event(3, {1: 200}))

    _, states = play(result, always(2))  # type: ignore[arg-type]

    assert (states.staked * 3).tolist() == [0.0, pytest.approx(1.0), pytest.approx(1.0)]


def test_the_session_state_does_not_depend_on_later_events() -> None:
    data = world(40, seed=3)
    rng = np.random.default_rng(0)
    actions = rng.integers(0, SLOTS + 1, len(data.events))
    other = data.episodes
    at = 3
    later = other.grid[:, at:].ravel()
    changed = Episodes(other.grid, other.reward.copy(), other.valid.copy(), other.as_of_us, other.settled_us)
    changed.reward[later] = 99.0
    changed.valid[later] = False

    before = session_state_at(other, actions, at)
    after = session_state_at(changed, np.where(np.isin(np.arange(len(actions)), later), 0, actions), at)

    np.testing.assert_array_equal(before.matrix(), after.matrix())


def test_a_policy_decides_every_event_once() -> None:
    data = world(5, seed=1).episodes
    decided_rows: list[int] = []

    def choose(rows: Ints, sessions: SessionState) -> Ints:
        assert len(rows) == len(sessions)
        decided_rows.extend(rows.tolist())
        return rows % (SLOTS + 1)

    actions, _ = play(data, choose)

    assert sorted(decided_rows) == list(range(len(data)))
    assert actions.tolist() == [row % (SLOTS + 1) for row in range(len(data))]
