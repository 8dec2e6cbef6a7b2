from __future__ import annotations

import numpy as np
import pytest

from services.predictor.policy.replay_buffer import ReplayBuffer, Transitions


def transitions(*rows: int) -> Transitions:
    row = np.array(rows, dtype=np.int64)
    state = np.zeros((len(rows), 3))
    return Transitions(row, state, row % 4, row / 10.0, row + 1, state)


def test_the_oldest_transitions_make_room_for_new_ones() -> None:
    buffer = ReplayBuffer(4)
    buffer.add(transitions(0, 1, 2))
    buffer.add(transitions(3, 4))

    drawn = buffer.sample(400, np.random.default_rng(0))

    assert len(buffer) == 4
    assert set(drawn.row.tolist()) == {1, 2, 3, 4}
    np.testing.assert_array_equal(drawn.reward, drawn.row / 10.0)
    np.testing.assert_array_equal(drawn.following, drawn.row + 1)


def test_more_than_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="3 transitions do not fit in a buffer of 2"):
        ReplayBuffer(2).add(transitions(0, 1, 2))


def test_only_what_was_added_is_drawn() -> None:
    buffer = ReplayBuffer(8)
    with pytest.raises(ValueError, match="the buffer is empty"):
        buffer.sample(1, np.random.default_rng(0))
    buffer.add(transitions(5, 6))

    drawn = buffer.sample(200, np.random.default_rng(0))

    assert len(buffer) == 2
    assert set(drawn.row.tolist()) == {5, 6}
    assert 60 < (drawn.row == 5).sum() < 140


def test_draws_are_uniform_and_reproducible() -> None:
    buffer = ReplayBuffer(8)
    buffer.add(transitions(*range(8)))

    first, second = (buffer.sample(8000, np.random.default_rng(7)).row for _ in range(2))

    assert first.tolist() == second.tolist()
    np.testing.assert_allclose(np.bincount(first) / 8000, 1 / 8, atol=0.02)
