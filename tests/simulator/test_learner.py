"""The ideal learner: better than predictions from less information, and worse than the truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from simulator.courses import course_distribution, draw_courses
from simulator.learner import IdealLearner, LearnerForecast
from simulator.races import Race, RaceStatus
from simulator.season import SeasonPlan, SimulatedSeason

pytestmark = pytest.mark.slow
PLAN = SeasonPlan(seed=4, days=44, venues=(2, 11))
FIRST_FORECAST_DAY = 20


@pytest.fixture(scope="module")
def forecasts() -> list[tuple[Race, LearnerForecast, np.ndarray]]:
    """The races of the last 24 days that had one winner and an exhibition, with their forecast and `p_win_listed`."""
    season = SimulatedSeason(PLAN)
    learner, rows = IdealLearner(season), []
    for day in (PLAN.first_date + timedelta(days=n) for n in range(FIRST_FORECAST_DAY, PLAN.days)):
        races = season.races(day)
        rows += list(zip(races, learner.forecasts(day), season.listed_probability(races), strict=True))
    return [
        each
        for each in rows
        if each[0].status is RaceStatus.RUN and each[0].finish.places.count(1) == 1 and each[1].observed is not None
    ]


def cross_entropy(forecast: np.ndarray, truth: np.ndarray) -> float:
    """Mean cross entropy: the expected log-loss."""
    return float(-(truth * np.log(np.maximum(forecast, 1e-12))).sum(axis=1).mean())


def test_its_loss_lies_between_that_of_the_slot_rates_and_that_of_the_truth(
    forecasts: list[tuple[Race, LearnerForecast, np.ndarray]],
) -> None:
    truth = np.array([race.p_win for race, _, _ in forecasts])
    card = np.array([each.card for _, each, _ in forecasts])
    observed = np.array([each.observed for _, each, _ in forecasts])
    slot = np.tile(truth.mean(axis=0), (len(truth), 1))

    assert cross_entropy(slot, truth) > cross_entropy(card, truth) + 0.1
    assert cross_entropy(card, truth) > cross_entropy(observed, truth) + 0.02
    assert cross_entropy(observed, truth) > cross_entropy(truth, truth) + 0.03


def test_its_probabilities_are_calibrated(forecasts: list[tuple[Race, LearnerForecast, np.ndarray]]) -> None:
    """If it were over- or underconfident, another temperature would fit the truth better."""
    truth = np.array([race.p_win for race, _, _ in forecasts])
    observed = np.array([each.observed for _, each, _ in forecasts])

    def at(power: float) -> float:
        raised = np.maximum(observed, 1e-12) ** power
        return cross_entropy(raised / raised.sum(axis=1, keepdims=True), truth)

    assert at(1.0) < min(at(0.9), at(1.1))


def test_a_boat_without_an_exhibition_has_probability_zero() -> None:
    season = SimulatedSeason(replace(PLAN, rates=PLAN.rates.multiplied_by(30)))
    absent = []
    learner = IdealLearner(season)
    for n in range(3):
        day = PLAN.first_date + timedelta(days=n)
        for race, each in zip(season.races(day), learner.forecasts(day), strict=True):
            missing = [not entry.exhibition.time for entry in race.entries]
            if any(missing) and each.observed is not None:
                absent.append(each.observed[missing].sum())

    assert len(absent) > 5
    assert max(absent) == 0.0


def test_a_day_before_the_last_forecast_is_refused() -> None:
    learner = IdealLearner(SimulatedSeason(PLAN))
    learner.forecasts(PLAN.first_date + timedelta(days=1))

    with pytest.raises(KeyError):
        learner.forecasts(PLAN.first_date)


def test_the_distribution_of_the_courses_is_that_of_their_draws() -> None:
    rng, count = np.random.default_rng(3), 60_000
    shown, raced = draw_courses([None] * count, rng)

    seen = Counter(map(tuple, raced.tolist()))
    for chance, course in course_distribution(None):
        spread = np.sqrt(count * chance * (1 - chance))
        assert abs(seen[tuple(course.tolist())] - count * chance) < 5 * spread + 1
    moved = tuple(np.array([2, 1, 3, 4, 5, 6]).tolist())
    after = Counter(
        tuple(race) for look, race in zip(shown.tolist(), raced.tolist(), strict=True) if look == list(moved)
    )
    for chance, course in course_distribution(list(moved)):
        expected = chance * after.total()
        assert abs(after[tuple(course.tolist())] - expected) < 5 * np.sqrt(expected) + 2


def test_probabilities_of_courses_sum_to_one_with_any_boats_absent() -> None:
    for shown in (None, [1, 2, 3, 4, 5, 6], [3, 1, 2, 0, 4, 5], [0, 1, 0, 0, 2, 3]):
        assert sum(chance for chance, _ in course_distribution(shown)) == pytest.approx(1.0)
