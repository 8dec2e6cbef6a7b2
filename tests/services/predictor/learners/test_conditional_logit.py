"""Conditional logit and slot rates on synthetic events."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.evaluation.measures import log_loss
from services.predictor.learners.base_rates import class_rates, slot_rates
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.conditional_logit import fit_logit
from services.predictor.learners.softmax import softmax
from tests.services.predictor.learners.synthetic_events import synthetic_events


def test_true_weights_are_recovered_and_other_columns_are_not_read() -> None:
    random = np.random.default_rng(1)
    entry = random.standard_normal((6000, 3, 4)).astype(np.float32)
    occupied = np.ones((6000, 3), dtype=bool)
    scores = entry[..., 0] - 0.5 * entry[..., 2] + np.array([0.7, 0, 0])
    winner = (scores + random.gumbel(size=scores.shape)).argmax(axis=1)
    logit = fit_logit(
        ChoiceData(entry, occupied, winner, np.arange(5000), np.arange(5000, 6000)), np.array([0, 1, 2]), [1e-3]
    )
    other = entry.copy()
    other[..., 3] = 99

    assert logit.weights[:3] == pytest.approx([1, 0, -0.5], abs=0.06)
    assert logit.weights[3] - logit.weights[4:].mean() == pytest.approx(0.7, abs=0.1)
    assert np.array_equal(logit.scores(entry, occupied), logit.scores(other, occupied))


def test_the_weights_are_where_the_penalised_loss_is_flat() -> None:
    data = synthetic_events(events=900)
    logit = fit_logit(data.choices, np.arange(5), [10.0])
    rows = data.training
    probabilities = softmax(logit.scores(data.entry[rows], data.occupied[rows]), data.occupied[rows])
    surprise = np.eye(4)[data.winner[rows]] - probabilities

    assert np.einsum("ns,nsf->f", surprise, data.entry[rows]) == pytest.approx(10 * logit.weights[:5], abs=0.01)


def test_the_penalty_is_chosen_on_validation() -> None:
    data = synthetic_events(events=400, features=60)
    logit = fit_logit(data.choices, np.arange(60), [1e-3, 30.0])

    assert logit.penalty == 30
    fitted = fit_logit(data.choices._replace(validation=data.training), np.arange(60), [1e-3, 30.0])
    assert fitted.penalty == pytest.approx(1e-3)


def test_the_logit_beats_the_slot_rates_which_beat_equal_probabilities() -> None:
    data = synthetic_events()
    rows = data.validation
    rates = slot_rates(data.occupied[data.training], data.places[data.training], data.winner[data.training])
    logit = fit_logit(data.choices, np.arange(5))
    base = log_loss(rates.probabilities(data.occupied[rows]), data.winner[rows]).mean()

    assert log_loss(logit.probabilities(data.entry[rows], data.occupied[rows]), data.winner[rows]).mean() < base - 0.2
    assert base < np.log(data.occupied[rows].sum(axis=1)).mean() - 0.05


def test_slot_rates_are_shares_that_start_from_one_win_and_one_loss() -> None:
    occupied = np.array([[True, True], [True, True], [True, False], [True, True]])
    rates = slot_rates(occupied, np.array([[1, 2], [1, 2], [1, np.nan], [np.nan] * 2]), np.array([0, 0, 0, -1]))

    assert rates.wins == pytest.approx([4 / 5, 1 / 4])
    assert rates.top3 == pytest.approx([4 / 5, 3 / 4])
    assert rates.probabilities(occupied)[2].tolist() == [1, 0]
    assert rates.top3_probabilities(occupied)[2] == pytest.approx([4 / 5, 0])


def test_class_rates_ignore_unknown_classes() -> None:
    assert class_rates(np.array([0, 0, 1, -1, -1]), 3).tolist() == [3 / 6, 2 / 6, 1 / 6]
