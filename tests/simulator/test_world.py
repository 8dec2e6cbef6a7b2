"""The published truth is the distribution of the results, and public data is informative about it."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from simulator import world
from simulator.races import Race, RaceStatus
from simulator.season import SeasonPlan, SimulatedSeason

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def decided_races(usual_races: list[Race]) -> list[Race]:
    """Races with one first boat."""
    return [race for race in usual_races if race.finish.places.count(1) == 1]


@pytest.fixture(scope="module")
def truth(decided_races: list[Race]) -> np.ndarray:
    """(races, 6)"""
    return np.array([race.p_win for race in decided_races])


@pytest.fixture(scope="module")
def winner(decided_races: list[Race]) -> np.ndarray:
    """(races,) of 0..5"""
    return np.array([race.finish.places.index(1) for race in decided_races])


def log_loss(probability: np.ndarray, winner: np.ndarray) -> float:
    return float(-np.log(probability[np.arange(len(winner)), winner]).mean())


def deviations(wins: float, probabilities: np.ndarray) -> float:
    """How many standard deviations the wins lie from what the probabilities promise."""
    spread = math.sqrt((probabilities * (1 - probabilities)).sum())
    return abs(wins - float(probabilities.sum())) / spread


def test_every_truth_sums_to_one(truth: np.ndarray) -> None:
    assert np.allclose(truth.sum(axis=1), 1.0, atol=1e-12)


def test_an_absent_boat_cannot_win(odd_races: list[Race]) -> None:
    absent = [(race, race.finish.places.index(16)) for race in odd_races if 16 in race.finish.places]

    assert len(absent) > 100
    assert all(race.p_win[boat] == 0.0 for race, boat in absent)
    assert all(min(p for b, p in enumerate(race.p_win) if b != boat) > 0 for race, boat in absent)


@pytest.mark.parametrize("boat", range(6))
def test_each_boat_wins_as_often_as_the_truth_says(boat: int, truth: np.ndarray, winner: np.ndarray) -> None:
    assert deviations((winner == boat).sum(), truth[:, boat]) < 4


@pytest.mark.parametrize("low", [0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8])
def test_probabilities_of_any_size_come_true_as_often_as_they_say(
    low: float, truth: np.ndarray, winner: np.ndarray
) -> None:
    high = {0.0: 0.05, 0.05: 0.1, 0.8: 1.0}.get(low, low + (0.1 if low == 0.1 else 0.2))
    chosen = (truth >= low) & (truth < high)
    is_winner = np.eye(6, dtype=bool)[winner]

    assert chosen.sum() > 500
    assert deviations((is_winner & chosen).sum(), truth[chosen]) < 4


def test_the_order_of_finish_is_plackett_luce() -> None:
    utilities = np.array([1.2, 0.3, 0.0, -0.4, -1.0, -np.inf])
    weights = np.exp(utilities) / np.exp(utilities).sum()
    count = 40_000

    orders = world.finishing_order(np.tile(utilities, (count, 1)), np.random.default_rng(1))

    seen = Counter((int(first), int(second)) for first, second, *_ in orders)
    for first in range(5):
        for second in set(range(5)) - {first}:
            chance = weights[first] * weights[second] / (1 - weights[first])
            spread = math.sqrt(count * chance * (1 - chance))
            assert abs(seen[first, second] - count * chance) < 5 * spread
    assert set(orders[:, 5].tolist()) == {5}


def test_boat_one_wins_as_often_as_in_reality(winner: np.ndarray) -> None:
    assert 0.50 <= (winner == 0).mean() <= 0.57


def test_the_truth_is_much_better_than_the_lane_alone(truth: np.ndarray, winner: np.ndarray) -> None:
    lane = np.tile(np.bincount(winner, minlength=6) / len(winner), (len(winner), 1))
    entropy = float(-(truth * np.log(np.maximum(truth, 1e-300))).sum(axis=1).mean())

    assert 1.05 <= entropy <= 1.30
    assert abs(log_loss(truth, winner) - entropy) < 0.05
    assert 1.30 <= log_loss(lane, winner) <= 1.45
    assert log_loss(lane, winner) - log_loss(truth, winner) >= 0.1


def test_knowing_the_day_is_better_than_the_card_alone() -> None:
    season = SimulatedSeason(SeasonPlan(seed=3, days=60))
    days = [season.races(season.plan.first_date.replace(day=d)) for d in range(1, 31)]
    decided = [(i, j) for i, day in enumerate(days) for j, race in enumerate(day) if 1 in race.finish.places]
    listed = [season.listed_probability(day) for day in days]
    winner = np.array([days[i][j].finish.places.index(1) for i, j in decided])

    before = log_loss(np.array([listed[i][j] for i, j in decided]), winner)
    after = log_loss(np.array([days[i][j].p_win for i, j in decided]), winner)

    assert np.allclose([row.sum() for day in listed for row in day], 1.0)
    assert 0.02 < before - after < 0.25


def test_a_fast_exhibition_raises_the_win_probability(usual_races: list[Race]) -> None:
    races = [r for r in usual_races if r.status is RaceStatus.RUN and all(e.exhibition.time for e in r.entries)]
    times = np.array([[e.exhibition.time for e in race.entries] for race in races])
    improvement = np.array([np.log(race.p_win) - np.array(race.lasting) for race in races])
    times -= times.mean(axis=1, keepdims=True)
    improvement -= improvement.mean(axis=1, keepdims=True)

    assert np.corrcoef(times.ravel(), improvement.ravel())[0, 1] < -0.3


def test_the_card_shows_skill_only_in_part(usual_races: list[Race]) -> None:
    points = np.array([[e.card["racer_national_top_1_percent"] for e in race.entries] for race in usual_races])
    lasting = np.array([race.lasting for race in usual_races])
    lasting = lasting - lasting.mean(axis=0)  # less the courses

    correlation = np.corrcoef(points.ravel(), lasting.ravel())[0, 1]

    assert 0.6 < correlation < 0.95


def test_wind_weakens_the_first_course() -> None:
    calm, rough = world.weather_effect(np.array([0.0, 8.0]), np.array([0.0, 8.0]))

    assert rough[0] - calm[0] < -0.5
    assert (rough - calm)[1:].min() >= 0
