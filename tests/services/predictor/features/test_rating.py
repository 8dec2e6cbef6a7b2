"""Ratings follow the gradient of the likelihood of the order of finish."""

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
    """The weighted log-likelihood of the first three places; `order` lists slots."""
    remaining, total = started.copy(), 0.0
    for slot, weight in zip(order, STAGE_WEIGHTS, strict=False):
        total += weight * float(np.log(win_probabilities(strength, remaining)[slot]))
        remaining[slot] = False
    return total


@pytest.mark.parametrize(("place", "order"), [([2.0, 4.0, 1.0, 3.0], [2, 0, 3]), ([1.0, 2.0, np.nan, 3.0], [0, 1, 3])])
def test_the_gradient_is_that_of_the_likelihood(place: list[float], order: list[int]) -> None:
    step = 1e-6 * np.eye(4)
    numeric = [
        (log_likelihood(STRENGTH + each, order, ALL) - log_likelihood(STRENGTH - each, order, ALL)) / 2e-6
        for each in step
    ]

    assert slope(STRENGTH, place, ALL) == pytest.approx(np.array(numeric), abs=1e-8)


def test_an_entry_that_did_not_start_has_gradient_zero() -> None:
    started = np.array([True, True, False, True])

    result = slope(STRENGTH, [2.0, 3.0, np.nan, 1.0], started)

    assert result[2] == 0.0
    assert result.sum() == pytest.approx(0.0)


def test_places_after_a_dead_heat_are_ignored() -> None:
    first_only = slope(STRENGTH, [1.0, np.nan, np.nan, np.nan], ALL)

    assert slope(STRENGTH, [1.0, 2.0, 2.0, 4.0], ALL).tolist() == first_only.tolist()
    assert slope(STRENGTH, [1.0, 1.0, 3.0, 4.0], ALL).tolist() == [0.0] * 4


def test_the_last_remaining_entry_adds_nothing() -> None:
    two = np.array([True, True, False, False])

    result = slope(STRENGTH, [1.0, 2.0, np.nan, np.nan], two)

    assert result[:2] == pytest.approx([1 - win_probabilities(STRENGTH, two)[0], -win_probabilities(STRENGTH, two)[1]])


def test_a_surprising_win_has_a_larger_gradient_than_an_expected_one() -> None:
    surprise, expected = (slope(STRENGTH, place, ALL) for place in ([2.0, 1.0, 3.0, 4.0], [2.0, 3.0, 1.0, 4.0]))

    assert surprise[1] > expected[2] > 0


def test_ratings_converge_to_the_true_strengths() -> None:
    truth, rng = np.array([1.0, 0.4, -0.3, -1.1]), np.random.default_rng(2)
    rating = np.zeros(4)
    for number in range(4000):
        place = np.argsort(np.argsort(-(truth + rng.gumbel(size=4)))) + 1.0
        rating = rating + step_sizes(np.array([float(number)]), StepSchedule(20.0, 0.4, 0.01)) * slope(
            rating, place.tolist(), ALL
        )

    assert rating - rating.mean() == pytest.approx(truth - truth.mean(), abs=0.25)


def test_probabilities_sum_to_one_over_those_present() -> None:
    strength = np.random.default_rng(1).normal(scale=40, size=(50, 6))
    present = np.random.default_rng(2).random((50, 6)) < 0.7
    present[0] = False

    result = win_probabilities(strength, present)

    assert result.sum(axis=1)[present.any(axis=1)] == pytest.approx(1.0)
    assert not result[~present].any()


def test_probabilities_have_the_same_bits_in_every_batch() -> None:
    strength = np.random.default_rng(1).normal(size=(501, 6))
    present = np.random.default_rng(2).random((501, 6)) < 0.9

    together = win_probabilities(strength, present)

    assert all(np.array_equal(win_probabilities(strength[row], present[row]), together[row]) for row in range(501))


def test_the_expected_share_is_that_of_pairs_won() -> None:
    started = np.array([True, True, False, True])

    result = expected_share(STRENGTH, started)

    rivals = {0: (1, 3), 1: (0, 3), 3: (0, 1)}
    for slot, others in rivals.items():
        wins = [win_probabilities(STRENGTH[[slot, other]], np.ones(2, dtype=np.bool_))[0] for other in others]
        assert result[slot] == pytest.approx(np.mean(wins))
    assert np.isnan(result[2])
    assert np.nansum(result) * 2 == pytest.approx(len(list(combinations(rivals, 2))))


def test_step_sizes_fall_to_their_final_value() -> None:
    result = step_sizes(np.array([0.0, 8.0, 8e9]), StepSchedule(8.0, 0.35, 0.05))

    assert result == pytest.approx([0.35, 0.20, 0.05])


def test_the_likelihood_of_all_orders_is_one() -> None:
    """Checks the likelihood that the tests compare with: with weights of one it is a distribution."""
    weighted = [
        np.prod(
            [win_probabilities(STRENGTH, ~np.isin(np.arange(4), order[:at]))[slot] for at, slot in enumerate(order)]
        )
        for order in permutations(range(4))
    ]

    assert sum(weighted) == pytest.approx(1.0)
