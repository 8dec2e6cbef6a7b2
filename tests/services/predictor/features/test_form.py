"""Running means, compared with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.data.events import Floats
from services.predictor.features.form import RunningMean, RunningMeans, beaten_share

SLOW, FAST = RunningMean("slow", "won", 2, 3, "wins"), RunningMean("fast", "won", 1, 0, "wins")
TIMING = RunningMean("timing", "timing_s", 1, 0, "timing")


def after(means: RunningMeans, *values: tuple[float, ...]) -> Floats:
    rows = np.zeros((1, means.width))
    for each in values:
        rows = means.update(rows, np.array([each]))
    return rows


def test_the_weight_of_a_value_halves_every_half_life() -> None:
    means = RunningMeans((FAST,))

    assert means.read(after(means, (1.0,), (0.0,))).tolist() == [[0.5 / 1.5]]
    assert means.read(after(means, (1.0,), (0.0,), (1.0,))).tolist() == [[1.25 / 1.75]]


def test_a_mean_of_few_values_is_shrunk_towards_zero() -> None:
    means = RunningMeans((SLOW,))

    assert means.read(after(means, (1.0,))).tolist() == [[1 / (1 + 3)]]


def test_an_unknown_value_leaves_the_mean_unchanged() -> None:
    means = RunningMeans((FAST, TIMING))

    once, twice = after(means, (1.0, 0.1)), after(means, (1.0, 0.1), (1.0, np.nan))

    assert means.read(twice)[0, 1] == means.read(once)[0, 1] == 0.1
    assert means.read_one(twice, "timing").tolist() == [0.1]


def test_a_mean_without_values_is_unknown() -> None:
    means = RunningMeans((SLOW, TIMING))

    means_read = means.read(after(means, (0.0, np.nan)))

    assert means_read[0, 0] == 0.0
    assert np.isnan(means_read[0, 1])


def test_quantities_are_stacked_in_the_order_of_their_means() -> None:
    means = RunningMeans((TIMING, FAST))

    assert means.stack({"won": np.array([1.0, 0.0]), "timing_s": np.array([0.1, 0.2])}).tolist() == [[0.1, 1], [0.2, 0]]


def test_the_share_of_rivals_beaten() -> None:
    place = np.array([[3.0, 1.0, np.nan, np.nan, 2.0, np.nan]])
    started = np.array([[True, True, True, True, True, False]])

    share = beaten_share(place, started)

    assert share[0, :5] == pytest.approx([2 / 4, 4 / 4, 0.5 / 4, 0.5 / 4, 3 / 4])
    assert np.isnan(share[0, 5])


def test_an_entry_that_started_alone_beats_nobody() -> None:
    assert beaten_share(np.array([1.0, np.nan]), np.array([True, False]))[0] == 0.0
