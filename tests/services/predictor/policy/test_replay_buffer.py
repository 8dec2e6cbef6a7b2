from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.predictor.policy.replay_buffer import PrioritisedBuffer, SumTree, Transitions, UniformBuffer


def transitions(*rows: int) -> Transitions:
    found = np.array(rows, dtype=np.int64)
    some = np.zeros((len(rows), 3))
    return Transitions(found, some, found % 4, found / 10.0, found + 1, some)


@pytest.mark.parametrize("kind", [UniformBuffer, PrioritisedBuffer])
def test_the_oldest_transitions_make_room_for_new_ones(kind: type[UniformBuffer]) -> None:
    buffer = kind(4)
    buffer.add(transitions(0, 1, 2))
    buffer.add(transitions(3, 4))

    drawn = buffer.sample(400, np.random.default_rng(0)).transitions

    assert len(buffer) == 4
    assert set(drawn.row.tolist()) == {1, 2, 3, 4}
    np.testing.assert_array_equal(drawn.reward, drawn.row / 10.0)
    np.testing.assert_array_equal(drawn.following, drawn.row + 1)


def test_more_than_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="3 transitions do not fit in a buffer of 2"):
        UniformBuffer(2).add(transitions(0, 1, 2))


def test_the_same_generator_draws_the_same() -> None:
    buffer = PrioritisedBuffer(8)
    buffer.add(transitions(*range(8)))

    first, second = (buffer.sample(5, np.random.default_rng(7)).places.tolist() for _ in range(2))

    assert first == second


def test_what_surprised_more_is_drawn_more_often_and_weighs_less() -> None:
    buffer = PrioritisedBuffer(4, alpha=1.0, beta=1.0, least=0.0)
    buffer.add(transitions(0, 1, 2, 3))
    buffer.tell(np.arange(4), np.array([1.0, 1.0, 2.0, -4.0]))

    sample = buffer.sample(8000, np.random.default_rng(0))

    share = np.bincount(sample.places, minlength=4) / 8000
    np.testing.assert_allclose(share, np.array([1, 1, 2, 4]) / 8, atol=0.01)
    # Weighted, every transition counts alike again.
    weighted = np.bincount(sample.places, sample.weight, minlength=4)
    np.testing.assert_allclose(weighted / weighted.sum(), 0.25, atol=0.01)
    assert sample.weight.max() == 1.0


def test_a_new_transition_is_drawn_as_often_as_the_most_surprising() -> None:
    buffer = PrioritisedBuffer(3, alpha=1.0, least=0.0)
    buffer.add(transitions(0, 1))
    buffer.tell(np.array([0, 1]), np.array([6.0, 2.0]))
    buffer.add(transitions(2))

    share = np.bincount(buffer.sample(7000, np.random.default_rng(1)).places) / 7000

    np.testing.assert_allclose(share, np.array([6, 2, 6]) / 14, atol=0.01)


@given(
    values=st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0, 1000.0]), min_size=1, max_size=33).filter(sum),
    at=st.floats(0.0, 1.0, exclude_max=True),
)
def test_the_tree_finds_what_adding_up_would_find(values: list[float], at: float) -> None:
    tree = SumTree(len(values))
    tree.put(np.arange(len(values)), np.array(values))

    found = tree.find(np.array([at * tree.total]))[0]

    assert tree.total == sum(values)
    assert found == np.searchsorted(np.cumsum(values), at * sum(values), side="right")


def test_of_two_values_for_one_place_the_later_holds() -> None:
    tree = SumTree(3)

    tree.put(np.array([1, 1, 2]), np.array([5.0, 2.0, 1.0]))

    assert tree.values(np.array([0, 1, 2])).tolist() == [0.0, 2.0, 1.0]
    assert tree.total == 3.0
