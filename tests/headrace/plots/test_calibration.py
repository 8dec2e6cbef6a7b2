"""Calibration by state of knowledge: curves of the accessor, in a figure and in text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from headrace.plots.calibration import calibration_by_state, calibration_figure, calibration_text
from headrace.plots.errors import NothingToPlot
from tests.headrace.plots.frames import predictions_of, results_of

RESULTS = results_of([1, 1, 1, 2])
PREDICTIONS = pd.concat([predictions_of(RESULTS, 0.7), predictions_of(RESULTS, 0.84, "observation")])


def test_each_state_has_the_table_of_the_accessor() -> None:
    tables = calibration_by_state(PREDICTIONS, RESULTS)

    assert list(tables) == ["card", "observation"]
    card = PREDICTIONS[PREDICTIONS["state"] == "card"]
    pd.testing.assert_frame_equal(tables["card"], card.headrace.calibration(10, results=RESULTS))
    assert tables["card"].attrs["subject"] == "4 events, 2026-01-05\nmodel m1"


def test_the_figure_shows_shares_by_mean_prediction_and_counts() -> None:
    axes: Any = calibration_figure(calibration_by_state(PREDICTIONS, RESULTS)).axes
    shares, counts = axes

    points = shares.containers[0].lines[0].get_xydata()
    assert np.allclose(points[~np.isnan(points).any(axis=1)], [[0.15, 1 / 8], [0.7, 0.75]])
    steps = counts.patches[0].get_data().values
    assert steps.tolist() == [0.5, 8, 0.5, 0.5, 0.5, 0.5, 0.5, 4, 0.5, 0.5]
    assert "calibration error 0.0333" in shares.get_legend().get_texts()[1].get_text()


def test_the_text_has_a_row_for_each_bin() -> None:
    lines = calibration_text(calibration_by_state(PREDICTIONS, RESULTS))

    assert lines[:3] == ["Calibration of P(win)", "4 events, 2026-01-05", "model m1"]
    card = lines.index("card: calibration error 0.0333")
    assert lines[card + 2].startswith(" 10- 20 %  12.5 %         8    ")
    assert lines[card + 3].startswith(" 70- 80 %  75.0 %         4    ")
    assert max(map(len, lines)) <= 80


def test_predictions_without_results_are_no_calibration() -> None:
    with pytest.raises(NothingToPlot, match="has a result with exactly one winner"):
        calibration_by_state(PREDICTIONS, RESULTS[:0])
