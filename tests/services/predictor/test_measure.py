"""Measures by hand-made numbers."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.measure import expected_calibration_error, log_loss


def test_log_loss_is_the_surprise_at_what_happened() -> None:
    found = log_loss(np.array([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0]]), np.array([0, 1, 1]))

    assert found == pytest.approx([np.log(2), np.log(10), 15 * np.log(10)])


def test_what_comes_as_often_as_said_is_calibrated() -> None:
    said = np.repeat([0.2, 0.6], 10)
    came = np.array([True] * 2 + [False] * 8 + [True] * 6 + [False] * 4)

    assert expected_calibration_error(said, came) == pytest.approx(0)
    assert expected_calibration_error(said, ~came) == pytest.approx((0.6 + 0.2) / 2)
