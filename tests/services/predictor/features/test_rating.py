"""Ratings move along the gradient of the likelihood of who came in when."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from services.predictor.data.events import Bools, Floats
from services.predictor.features.rating import (
    STAGE_WEIGHTS,
    Stages,
    StepSchedule,
    expected_share,
    gradient,
    stages_of,
    step_sizes,
    win_probabilities,
)

STRENGTH = np.array([0.3, -0.5, 1.2, 0.0])
ALL = np.ones(4, dtype=np.bool_)


def slope(strength: Floats, place: list[float], started: Bools) -> Floats:
    stages = Stages(*(each[0] for each in stages_of(np.array([place]), started[None])))
    return gradient(strength, *stages)


def log_likelihood(strength: Floats, order: list[int], started: Bools) -> float:
    """Of who came first, second and third, weighted; `order` of slots."""
    left, total = started.copy(), 0.0
    for slot, weight in zip(order, STAGE_WEIGHTS, strict=False):
        total += weight * float(np.log(win_probabilities(strength, left)[slot]))
        left[slot] = False
    return total


@pytest.mark.parametrize(("place", "order"), [([2.0, 4.0, 1.0, 3.0], [2, 0, 3]), ([1.0, 2.0, np.nan, 3.0], [0, 1, 3])])
def test_the_gradient_is_that_of_the_likelihood(place: list[float], order: list[int]) -> None:
    step = 1e-6 * np.eye(4)
    numeric = [
        (log_likelihood(STRENGTH + each, order, ALL) - log_likelihood(STRENGTH - each, order, ALL)) / 2e-6
        for each in step
    ]

    assert slope(STRENGTH, place, ALL) == pytest.approx(np.array(numeric), abs=1e-8)


def test_who_did_not_start_neither_gains_nor_loses() -> None:
    started = np.array([True, True, False, True])

    found = slope(STRENGTH, [2.0, 3.0, np.nan, 1.0], started)

    assert found[2] == 0.0
    assert found.sum() == pytest.approx(0.0)


def test_a_dead_heat_ends_what_is_learned() -> None:
    first_only = slope(STRENGTH, [1.0, np.nan, np.nan, np.nan], ALL)

    assert slope(STRENGTH, [1.0, 2.0, 2.0, 4.0], ALL).tolist() == first_only.tolist()
    assert slope(STRENGTH, [1.0, 1.0, 3.0, 4.0], ALL).tolist() == [0.0] * 4


def test_the_last_one_left_says_nothing() -> None:
    two = np.array([True, True, False, False])

    found = slope(STRENGTH, [1.0, 2.0, np.nan, np.nan], two)

    assert found[:2] == pytest.approx([1 - win_probabilities(STRENGTH, two)[0], -win_probabilities(STRENGTH, two)[1]])


def test_a_surprise_moves_more_than_what_was_expected() -> None:
    surprise, expected = (slope(STRENGTH, place, ALL) for place in ([2.0, 1.0, 3.0, 4.0], [2.0, 3.0, 1.0, 4.0]))

    assert surprise[1] > expected[2] > 0


def test_who_wins_more_is_rated_higher() -> None:
    truth, rng = np.array([1.0, 0.4, -0.3, -1.1]), np.random.default_rng(2)
    rating = np.zeros(4)
    for number in range(4000):
        place = np.argsort(np.argsort(-(truth + rng.gumbel(size=4)))) + 1.0
        rating = rating + step_sizes(np.array([float(number)]), StepSchedule(20.0, 0.4, 0.01)) * slope(
            rating, place.tolist(), ALL
        )

    assert rating - rating.mean() == pytest.approx(truth - truth.mean(), abs=0.25)


def test_chances_sum_to_one_over_those_present() -> None:
    strength = np.random.default_rng(1).normal(scale=40, size=(50, 6))
    present = np.random.default_rng(2).random((50, 6)) < 0.7
    present[0] = False

    found = win_probabilities(strength, present)

    assert found.sum(axis=1)[present.any(axis=1)] == pytest.approx(1.0)
    assert not found[~present].any()


def test_chances_are_the_same_bits_alone_and_among_others() -> None:
    strength = np.random.default_rng(1).normal(size=(501, 6))
    present = np.random.default_rng(2).random((501, 6)) < 0.9

    together = win_probabilities(strength, present)

    assert all(np.array_equal(win_probabilities(strength[row], present[row]), together[row]) for row in range(501))


def test_the_expected_share_is_that_of_pairs_won() -> None:
    started = np.array([True, True, False, True])

    found = expected_share(STRENGTH, started)

    rivals = {0: (1, 3), 1: (0, 3), 3: (0, 1)}
    for slot, others in rivals.items():
        wins = [win_probabilities(STRENGTH[[slot, other]], np.ones(2, dtype=np.bool_))[0] for other in others]
        assert found[slot] == pytest.approx(np.mean(wins))
    assert np.isnan(found[2])
    assert np.nansum(found) * 2 == pytest.approx(len(list(combinations(rivals, 2))))


def test_ratings_slow_down_towards_their_last_pace() -> None:
    found = step_sizes(np.array([0.0, 8.0, 8e9]), StepSchedule(8.0, 0.35, 0.05))

    assert found == pytest.approx([0.35, 0.20, 0.05])


def test_the_likelihood_of_all_orders_is_one() -> None:
    """Of the test's own yardstick: with weights of one it is a distribution."""
    weighted = [
        np.prod(
            [win_probabilities(STRENGTH, ~np.isin(np.arange(4), order[:at]))[slot] for at, slot in enumerate(order)]
        )
        for order in permutations(range(4))
    ]

    assert sum(weighted) == pytest.approx(1.0)
