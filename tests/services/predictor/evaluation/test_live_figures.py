"""Figures of published predictions, compared with figures computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.evaluation.live_figures import MIN_SESSIONS, LiveFigures, PublishedPrediction, live_figures

MODEL = "20310401-00000001"


def prediction(p_win: dict[int, float], winner: int, session: str = "s", model: str = MODEL) -> PublishedPrediction:
    return PublishedPrediction(session, model, p_win, winner)


def test_losses_and_the_gain_are_those_of_the_winners() -> None:
    figures = live_figures(
        [prediction({1: 0.5, 2: 0.3, 3: 0.2}, winner=1), prediction({1: 0.8, 3: 0.2}, winner=3)], {1: 5, 2: 2}
    )

    assert figures.loss == pytest.approx(-np.log([0.5, 0.2]))
    # Shares of wins with one win added to each slot: 6, 3 and 1 of 10; without slot 2, 6 and 1 of 7.
    assert figures.base_loss == pytest.approx(-np.log([6 / 10, 1 / 7]))
    assert figures.cumulated_gain() == pytest.approx(np.log([0.5 / 0.6, 0.5 / 0.6 * 0.2 * 7]))


def test_slots_are_columns_and_a_missing_one_is_not_occupied() -> None:
    figures = live_figures([prediction({2: 0.9, 5: 0.1}, winner=5), prediction({1: 0.6, 2: 0.4}, winner=1)], {})

    assert figures.win.tolist() == [[0.0, 0.9, 0.1], [0.6, 0.4, 0.0]]
    assert figures.occupied.tolist() == [[False, True, True], [True, True, False]]
    assert figures.winner.tolist() == [2, 0]


def test_an_event_whose_winner_was_not_predicted_is_left_out() -> None:
    figures = live_figures([prediction({1: 0.5, 2: 0.5}, winner=3), prediction({1: 1.0}, 1, model="b")], {})

    assert len(figures) == 1
    assert figures.models == ("b",)


def test_an_outcome_that_was_predicted_as_impossible_costs_a_finite_loss() -> None:
    assert live_figures([prediction({1: 1.0, 2: 0.0}, winner=2)], {}).loss.tolist() == [pytest.approx(34.54, abs=0.01)]


def test_without_predictions_there_are_no_figures() -> None:
    assert len(live_figures([], {1: 3})) == 0


def figures_of_sessions(sessions: int) -> LiveFigures:
    each = [prediction({1: 0.9, 2: 0.1}, 1 + number % 2, f"s{number // 2}") for number in range(2 * sessions)]
    return live_figures(each, {})


def test_the_gain_has_an_interval_if_there_are_enough_sessions() -> None:
    gain = figures_of_sessions(MIN_SESSIONS).gain()

    assert gain is not None
    assert gain.mean == pytest.approx(np.log([1.8, 0.2]).mean())
    assert gain.low <= gain.mean <= gain.high
    assert figures_of_sessions(MIN_SESSIONS - 1).gain() is None
