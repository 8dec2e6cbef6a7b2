"""Measures, checked with numbers computed by hand and with samples of known probabilities."""

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

PROBABILITIES = np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0], [0.0, 1.0, 0.0]])
WINNERS = np.array([0, 1, 2])


def test_log_loss_is_minus_the_log_probability_of_the_winner() -> None:
    assert log_loss(PROBABILITIES, WINNERS) == pytest.approx([np.log(2), np.log(10), 15 * np.log(10)])
    assert binary_log_loss(np.array([0.2, 0.2]), np.array([True, False])) == pytest.approx([np.log(5), -np.log(0.8)])


def test_brier_is_summed_over_the_slots() -> None:
    assert brier(PROBABILITIES, WINNERS) == pytest.approx([0.5, 1.62, 2.0])


def test_top1_is_one_where_the_most_probable_entry_won() -> None:
    assert top1(PROBABILITIES, WINNERS).tolist() == [1, 0, 0]


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    random = np.random.default_rng(1)
    probabilities, happened = random.integers(0, 9, 300) / 9, random.random(300) < 0.4
    pairs = probabilities[happened][:, None] - probabilities[~happened][None]

    assert auc(probabilities, happened) == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())
    assert np.isnan(auc(probabilities, happened | True))


def test_probabilities_that_match_frequencies_have_no_calibration_error() -> None:
    probabilities = np.repeat([0.2, 0.6], 10)
    happened = np.array([True] * 2 + [False] * 8 + [True] * 6 + [False] * 4)

    assert calibration_error(probabilities, happened) == pytest.approx(0)
    assert calibration_error(probabilities, ~happened) == pytest.approx((0.6 + 0.2) / 2)


def test_true_probabilities_are_calibrated_and_overconfident_ones_are_not() -> None:
    random = np.random.default_rng(2)
    truth = random.random(200_000)
    happened = random.random(200_000) < truth
    overconfident = truth**2 / (truth**2 + (1 - truth) ** 2)

    assert calibration_error(truth, happened) < 0.006
    assert calibration_error(overconfident, happened) > 0.05


def test_an_empty_bin_has_no_mean_and_no_events() -> None:
    means, share, count = reliability(np.array([0.01, 0.03, 1.0]), np.array([True, False, True]))

    assert (means[0], share[0], count[0]) == pytest.approx((0.02, 0.5, 2))
    assert (means[14], share[14], count[14]) == (1, 1, 1)
    assert np.isnan(means[1:14]).all()
    assert not count[1:14].any()


def test_all_covers_every_occupied_slot_and_top_the_most_probable() -> None:
    occupied = np.array([[True, True, False]] * 2 + [[True] * 3])

    assert every_slot(PROBABILITIES, occupied, WINNERS)[1].tolist() == [True, False, False, True, False, False, True]
    assert most_probable(PROBABILITIES, WINNERS)[0].tolist() == [0.5, 0.9, 1.0]


def test_result_quality_has_every_measure() -> None:
    occupied = np.ones((3, 3), dtype=bool)
    quality = result_quality(np.full((3, 3), 1 / 3), occupied, WINNERS)

    assert quality == pytest.approx(
        {"events": 3, "log_loss": np.log(3), "top1": 1 / 3, "brier": 2 / 3, "ece_all": 0, "ece_top": 0}
    )


def test_top3_covers_occupied_slots_and_excludes_entries_without_a_place() -> None:
    places = np.array([[1, 2, 3, 4, np.nan, np.nan]])
    occupied = np.array([[True] * 5 + [False]])
    quality = top3_quality(np.array([[0.9, 0.9, 0.9, 0.1, 0.1, 0.9]]), occupied, places)

    assert quality == pytest.approx({"top3_log_loss": -np.log(0.9), "top3_auc": 1})


def test_classes_are_scored_where_they_are_known() -> None:
    probabilities = np.array([[[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]])

    assert class_quality("behaviour", probabilities, np.array([[1, -1]])) == pytest.approx(
        {"behaviour_log_loss": np.log(4)}
    )
    assert class_quality("trend", probabilities[0], np.array([-1, -1])) == {}
