"""A scaling that was planted is found, and little data changes little."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.judge.calibration import calibrate
from services.predictor.judge.measures import calibration_error, pooled
from services.predictor.references.softmax import softmax


def sample(events: int, factor: float, bias: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores whose truth is scores * factor + bias for slot 1."""
    random = np.random.default_rng(events)
    scores = 1.3 * random.standard_normal((events, 4))
    taken = random.random((events, 4)) < 0.9
    taken[:, :2] = True
    truth = np.where(taken, scores * factor + bias * np.eye(4)[0] + random.gumbel(size=scores.shape), -np.inf)
    return scores, taken, truth.argmax(axis=1)


def test_a_planted_scaling_is_found_and_repairs_the_calibration() -> None:
    scores, taken, winner = sample(40_000, 0.8, 0.2)
    found = calibrate(scores, taken, winner)
    before = calibration_error(*pooled(softmax(scores, taken), taken, winner))
    after = calibration_error(*pooled(softmax(found.scores(scores), taken), taken, winner))

    assert found.factor == pytest.approx(0.8, abs=0.02)
    assert found.slot_bias[0] - np.mean(found.slot_bias[1:]) == pytest.approx(0.2, abs=0.04)
    assert after < 0.2 * before


def test_few_events_change_little_and_none_nothing() -> None:
    few = calibrate(*sample(30, 0.5, 0.5))

    assert few.factor == pytest.approx(1, abs=0.06)
    assert few.slot_bias == pytest.approx([0] * 4, abs=0.04)
    scores, taken, winner = sample(1, 1, 0)
    assert calibrate(scores[:0], taken[:0], winner[:0]) == (1.0, (0.0,) * 4)


def test_an_event_told_twice_at_half_the_weight_is_one_event() -> None:
    scores, taken, winner = sample(2000, 0.7, 0.1)
    once = calibrate(scores, taken, winner)
    twice = calibrate(np.tile(scores, (2, 1)), np.tile(taken, (2, 1)), np.tile(winner, 2), weight=0.5)

    assert twice.factor == pytest.approx(once.factor, abs=1e-9)
    assert twice.slot_bias == pytest.approx(once.slot_bias, abs=1e-9)
