"""Over a long season every anomaly occurs about as often as in the real source."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from simulator.races import Race, RaceEntry, RaceStatus
from simulator.rates import AnomalyRates

pytestmark = pytest.mark.slow
REAL = AnomalyRates()


def assert_about(seen: int, chances: int, rate: float) -> None:
    """Within five standard deviations (and one case, where a handful is expected)."""
    expected = chances * rate
    assert abs(seen - expected) <= 5 * math.sqrt(expected) + 1, f"{seen} seen, {expected:.1f} expected"


def entries(races: list[Race]) -> list[tuple[int | None, RaceEntry]]:
    return [pair for race in races for pair in zip(race.finish.places, race.entries, strict=True)]


@pytest.mark.parametrize(
    ("code", "cases"),
    [(7, 198), (8, 213), (9, 1157), (10, 334), (11, 24), (12, 79), (13, 8), (14, 790), (15, 26), (16, 456)],
)
def test_each_place_code_is_as_rare_as_in_reality(code: int, cases: int, usual_races: list[Race]) -> None:
    seen = sum(place == code for place, _ in entries(usual_races))

    assert_about(seen, 6 * len(usual_races), cases / 236_160)


@pytest.mark.parametrize(
    ("rate", "count_in"),
    [
        (REAL.lost_place, lambda race: 2 - len(race.payouts["place"]) if race.finish.valid_count > 2 else 0),
        (8 / 38_943, lambda race: race.finish.void),
        (REAL.never_finished_page, lambda race: race.status is RaceStatus.HALF_PUBLISHED),
        (417 / 39_360, lambda race: race.status is RaceStatus.CALLED_OFF),
        (29 / 39_360, lambda race: race.preview_weather.weather is None),
        (REAL.deadline_moved, lambda race: race.deadline_min == race.listed_deadline_min + 1),
        (REAL.boat_zero_in_preview, lambda race: race.boat_zero),
    ],
)
def test_each_anomaly_of_a_race_is_as_rare_as_in_reality(
    rate: float, count_in: Callable[[Race], int], usual_races: list[Race]
) -> None:
    seen = sum(int(count_in(race)) for race in usual_races)
    # Whole days are called off at once: the races of a day are not independent.
    slack = 12 if rate == 417 / 39_360 else 1

    assert abs(seen - rate * len(usual_races)) <= 5 * math.sqrt(slack * rate * len(usual_races)) + 1


def test_about_a_tenth_of_the_entries_has_no_local_rate(usual_races: list[Race]) -> None:
    unrated = sum(entry.card["racer_local_top_1_percent"] == 0 for _, entry in entries(usual_races))

    assert 0.06 < unrated / (6 * len(usual_races)) < 0.14


def test_about_a_twentieth_of_the_boats_changes_course_after_the_exhibition(usual_races: list[Race]) -> None:
    pairs = [(e.course, e.exhibition.course) for _, e in entries(usual_races) if e.course and e.exhibition.course]

    assert 0.03 < sum(a != b for a, b in pairs) / len(pairs) < 0.07


def test_the_weather_before_and_after_differs_as_often_as_in_reality(usual_races: list[Race]) -> None:
    differs = sum(race.weather.wind != race.preview_weather.wind for race in usual_races)

    assert 0.35 < differs / len(usual_races) < 0.6


def test_every_class_is_there_in_its_share(usual_races: list[Race]) -> None:
    classes = [entry.card["racer_class_number"] for _, entry in entries(usual_races)]

    for rank, cases in ((1, 58_662), (2, 56_617), (3, 105_543), (4, 15_338)):
        assert abs(classes.count(rank) / len(classes) - cases / 236_160) < 0.06


def test_a_factor_leaves_rates_possible() -> None:
    assert AnomalyRates().multiplied_by(1e6).absent == 0.5
    assert AnomalyRates().multiplied_by(0).absent == 0.0


def test_typical_prices_are_those_of_the_real_source(usual_races: list[Race]) -> None:
    for market, low, high in (("trifecta", 1500, 3500), ("trio", 350, 900), ("exacta", 500, 1000), ("win", 150, 260)):
        prices = sorted(int(str(row["payout"])) for race in usual_races for row in race.payouts[market])

        assert low <= prices[len(prices) // 2] <= high
