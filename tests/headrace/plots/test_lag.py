"""Lag and throughput by minute, with gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headrace.plots.errors import NothingToPlot
from headrace.plots.lag import lag_figure, lag_text, lags_of
from tests.headrace.plots.frames import history_of

NAN = float("nan")


def test_records_handled_a_minute_are_the_difference_of_positions() -> None:
    (stage,) = lags_of(history_of([5, 0, 7, 0], [10, 70, 60, 160], minutes=[0, 1, 2, 4]))

    assert (stage.service, stage.topic) == ("loader", "clean-events")
    assert np.array_equal(stage.records, [5, 0, 7, 0])
    # An operator set the position back in the third minute; the last sample came after two minutes.
    assert np.array_equal(stage.handled, [NAN, 60, 0, 50], equal_nan=True)


def test_a_pause_without_samples_is_a_gap() -> None:
    (stage,) = lags_of(history_of([1, 2, 3], [10, 20, 900], minutes=[0, 1, 30]))

    assert np.array_equal(stage.records, [1, 2, NAN, 3], equal_nan=True)
    assert np.array_equal(stage.handled, [NAN, 10, NAN, NAN], equal_nan=True)


def test_stages_are_in_the_order_of_the_pipeline() -> None:
    parts = [history_of([1, 2], [1, 2], service=service) for service in ("notifier", "cleaner", "predictor")]

    assert [stage.service for stage in lags_of(pd.concat(parts))] == ["cleaner", "predictor", "notifier"]


def test_one_sample_is_not_enough() -> None:
    with pytest.raises(NothingToPlot, match="fewer than two minutes"):
        lags_of(history_of([1], [1]))


def test_the_figure_has_three_measures_for_each_stage() -> None:
    figure = lag_figure(lags_of(history_of([5, 0, 1200], [0, 60, 90], seconds=[1.0, NAN, 30.0])))

    assert [axes.get_title() for axes in figure.axes] == [
        "waiting records",
        "age of the oldest, s",
        "records handled a minute",
    ]
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["highest 1,200", "highest 30 s", "highest 60"]


def test_the_text_has_the_course_of_each_measure() -> None:
    lines = lag_text(lags_of(history_of(range(48), [0] * 48, seconds=[NAN] * 48)))

    assert lines[0] == "Lag and throughput, 2026-01-31 06:00 to 06:47 UTC"
    assert lines[3] == "loader     clean-events     waiting        47       47  ▁▁▂▂▂▃▃▃▄▄▄▄▅▅▅▆▆▆▇▇▇▇██"
    assert lines[4] == "                            oldest, s       -        -"
    assert lines[5].split() == ["a", "minute", "0", "0", "▁" * 24]
