"""The softmax over the entries of an event, and its derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.learners.softmax import PLACE_WEIGHTS, first_places, loss_derivatives, softmax, winner_loss
from tests.services.predictor.learners.synthetic_events import synthetic_events


def test_empty_slots_have_probability_zero_even_if_all_are_empty() -> None:
    occupied = np.array([[True, True, False], [False, False, False]])

    assert softmax(np.array([[0.0, np.log(3), 9.0], [1.0, 1.0, 1.0]]), occupied) == pytest.approx(
        np.array([[0.25, 0.75, 0.0], [0.0, 0.0, 0.0]])
    )


def test_the_loss_of_an_impossible_winner_is_bounded() -> None:
    losses = winner_loss(np.array([[0.0, -1000.0]]), np.ones((1, 2), dtype=bool), np.array([1]))

    assert losses == pytest.approx(15 * np.log(10))


def test_a_dead_heat_ends_the_order() -> None:
    places = np.array([[2, 1, 3, 4], [1, 2, 2, 4], [1, 2, np.nan, 4], [np.nan] * 4])

    assert first_places(places, np.array([1, 0, 0, -1])).tolist() == [[1, 0, 2], [0, -1, -1], [0, 1, -1], [-1, -1, -1]]


def test_derivatives_are_those_of_the_loss() -> None:
    data = synthetic_events(events=40)
    order = first_places(data.places, data.winner)
    scores = np.random.default_rng(5).standard_normal(data.occupied.shape)

    def loss(at: np.ndarray) -> float:
        remaining, total = data.occupied.copy(), 0.0
        for stage, weight in enumerate(PLACE_WEIGHTS):
            total += weight * winner_loss(at, remaining, order[:, stage]).sum()
            remaining[np.arange(len(remaining)), order[:, stage]] = False
        return total

    gradient, curvature = loss_derivatives(scores, data.occupied, order)
    for event, slot in [(0, 0), (7, 2), (39, 1), (20, 3)]:
        step = np.zeros_like(scores)
        step[event, slot] = 1e-4
        ahead, here, back = loss(scores + step), loss(scores), loss(scores - step)
        assert gradient[event, slot] == pytest.approx((ahead - back) / 2e-4, abs=1e-5)
        assert curvature[event, slot] == pytest.approx((ahead - 2 * here + back) / 1e-8, abs=1e-4)
