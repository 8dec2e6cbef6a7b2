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


def test_topics_of_retries_and_dead_letters_are_shown_if_something_happened_in_them() -> None:
    parts = [
        history_of([0, records], [0, position], topic=topic)
        for topic, records, position in (("loader.dlq", 0, 0), ("loader.retry", 0, 3), ("cleaner.dlq", 1, 0))
    ]

    stages = lags_of(pd.concat([*parts, history_of([0, 0], [0, 0])]))

    assert [stage.topic for stage in stages] == ["clean-events", "cleaner.dlq", "loader.retry"]


@pytest.mark.parametrize("minutes", [1, 4, 30, 59, 119, 360, 1440, 10_080])
def test_a_span_of_any_length_has_few_dates(minutes: int) -> None:
    """A warning, for example about the interval of the dates, would fail this test."""
    figure = lag_figure(lags_of(history_of([1, 2, 3], [1, 2, 3], minutes=[0, 1, minutes + 1])))

    figure.draw_without_rendering()
    assert 1 <= len(figure.axes[-1].get_xticks()) <= 7


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
