"""Log-loss by month: the model's, and that of the base rate of earlier months."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from headrace.plots.errors import NothingToPlot
from headrace.plots.losses import losses_by_month, losses_figure, losses_text
from tests.headrace.plots.frames import predictions_of, results_of

MONTHS = [results_of(winners, f"2026-0{month}-05") for month, winners in enumerate(([1, 1, 2], [1, 2], [1, 1, 1]), 1)]
RESULTS = pd.concat(MONTHS, ignore_index=True)
PREDICTIONS = pd.concat([
    predictions_of(pd.concat(MONTHS[1:]), 0.5), predictions_of(MONTHS[2], 0.8, "observation", "m2")
])  # fmt: skip


def test_the_base_rate_of_a_month_comes_from_the_results_before_it() -> None:
    table = losses_by_month(PREDICTIONS, RESULTS)

    assert table[["month", "state", "events"]].to_numpy().tolist() == [
        ["2026-02", "card", 2],
        ["2026-03", "card", 3],
        ["2026-03", "observation", 3],
    ]
    expected = [-np.log([0.5, 0.25]).mean(), -np.log(0.5), -np.log(0.8)]
    assert np.allclose(table["log_loss"], expected)
    # January: wins 2, 1, 0 of slots 1 to 3, and one more for each; February adds one to slots 1 and 2.
    assert np.allclose(table["base"], [-np.log([3 / 6, 2 / 6]).mean(), -np.log(4 / 8), -np.log(4 / 8)])


def test_the_figure_has_a_series_for_each_state_and_the_base_rate() -> None:
    figure: Any = losses_figure(losses_by_month(PREDICTIONS, RESULTS))
    (axes,) = figure.axes

    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["base rate", "card, 95 % interval", "observation, 95 % interval"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2026-02\n2", "2026-03\n3"]
    assert np.isnan(axes.containers[1].lines[0].get_ydata()).tolist() == [True, False]


def test_the_text_has_a_row_for_each_month_and_state() -> None:
    lines = losses_text(losses_by_month(PREDICTIONS, RESULTS))

    assert lines[1:3] == ["5 events, 2026-02-05 to 2026-03-05", "2 models"]
    assert lines[-1].startswith("2026-03  observation        3  0.2231  0.6931  ")
    assert lines[-1].rstrip().endswith("|")  # the base rate is the highest value
    assert max(map(len, lines)) <= 80


def test_without_scored_predictions_there_is_nothing_to_plot() -> None:
    with pytest.raises(NothingToPlot, match="has a result"):
        losses_by_month(PREDICTIONS[:0], RESULTS)
