"""Measures by hand-made numbers and by samples whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.evaluation.measures import (
    auc,
    binary_log_loss,
    brier,
    calibration_error,
    every_slot,
    log_loss,
    most_probable,
    reliability,
    top1,
)
from services.predictor.evaluation.quality import class_quality, result_quality, top3_quality

TOLD = np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0], [0.0, 1.0, 0.0]])
CAME = np.array([0, 1, 2])


def test_log_loss_is_the_surprise_at_what_happened() -> None:
    assert log_loss(TOLD, CAME) == pytest.approx([np.log(2), np.log(10), 15 * np.log(10)])
    assert binary_log_loss(np.array([0.2, 0.2]), np.array([True, False])) == pytest.approx([np.log(5), -np.log(0.8)])


def test_brier_is_summed_over_the_slots() -> None:
    assert brier(TOLD, CAME) == pytest.approx([0.5, 1.62, 2.0])


def test_top1_counts_where_the_most_probable_came() -> None:
    assert top1(TOLD, CAME).tolist() == [1, 0, 0]


def test_auc_is_the_chance_to_tell_one_that_came_from_one_that_did_not() -> None:
    random = np.random.default_rng(1)
    told, came = random.integers(0, 9, 300) / 9, random.random(300) < 0.4
    pairs = told[came][:, None] - told[~came][None]

    assert auc(told, came) == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())
    assert np.isnan(auc(told, came | True))


def test_what_comes_as_often_as_told_is_calibrated() -> None:
    told = np.repeat([0.2, 0.6], 10)
    came = np.array([True] * 2 + [False] * 8 + [True] * 6 + [False] * 4)

    assert calibration_error(told, came) == pytest.approx(0)
    assert calibration_error(told, ~came) == pytest.approx((0.6 + 0.2) / 2)


def test_a_sample_of_the_truth_is_calibrated_and_a_bolder_telling_is_not() -> None:
    random = np.random.default_rng(2)
    truth = random.random(200_000)
    came = random.random(200_000) < truth
    bold = truth**2 / (truth**2 + (1 - truth) ** 2)

    assert calibration_error(truth, came) < 0.006
    assert calibration_error(bold, came) > 0.05


def test_reliability_knows_its_empty_bins() -> None:
    told, share, count = reliability(np.array([0.01, 0.03, 1.0]), np.array([True, False, True]))

    assert (told[0], share[0], count[0]) == pytest.approx((0.02, 0.5, 2))
    assert (told[14], share[14], count[14]) == (1, 1, 1)
    assert np.isnan(told[1:14]).all()
    assert not count[1:14].any()


def test_all_is_every_taken_slot_and_top_the_most_probable() -> None:
    taken = np.array([[True, True, False]] * 2 + [[True] * 3])

    assert every_slot(TOLD, taken, CAME)[1].tolist() == [True, False, False, True, False, False, True]
    assert most_probable(TOLD, CAME)[0].tolist() == [0.5, 0.9, 1.0]


def test_quality_names_every_figure() -> None:
    taken = np.ones((3, 3), dtype=bool)
    found = result_quality(np.full((3, 3), 1 / 3), taken, CAME)

    assert found == pytest.approx(
        {"events": 3, "log_loss": np.log(3), "top1": 1 / 3, "brier": 2 / 3, "ece_all": 0, "ece_top": 0}
    )


def test_top3_is_over_taken_slots_and_no_place_is_not_among_the_first() -> None:
    places = np.array([[1, 2, 3, 4, np.nan, np.nan]])
    taken = np.array([[True] * 5 + [False]])
    found = top3_quality(np.array([[0.9, 0.9, 0.9, 0.1, 0.1, 0.9]]), taken, places)

    assert found == pytest.approx({"top3_log_loss": -np.log(0.9), "top3_auc": 1})


def test_classes_are_judged_where_they_are_known() -> None:
    told = np.array([[[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]])

    assert class_quality("behaviour", told, np.array([[1, -1]])) == pytest.approx({"behaviour_log_loss": np.log(4)})
    assert class_quality("trend", told[0], np.array([-1, -1])) == {}
