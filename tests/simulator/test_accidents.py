"""Orders of finish become places and codes of the shapes the real source shows."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from simulator.accidents import ABSENT, FALSE_START, LATE, Finish, draw_finish
from simulator.rates import AnomalyRates

NEVER = AnomalyRates().multiplied_by(0)
ORDER = [2, 0, 4, 5, 1, 3]


def only(name: str) -> AnomalyRates:
    """Rates at which one anomaly always occurs, and no other."""
    return AnomalyRates(**{f.name: float(f.name == name) for f in fields(AnomalyRates)})


def draw(rates: AnomalyRates, absent: int | None = None, seed: int = 0) -> Finish:
    return draw_finish(ORDER, absent, rates, np.random.default_rng(seed))


def test_without_accident_the_order_is_the_places() -> None:
    assert draw(NEVER) == Finish((2, 5, 1, 6, 3, 4))


def test_an_absent_boat_has_its_code_and_the_others_close_up() -> None:
    assert draw(NEVER, absent=4) == Finish((2, 4, 1, 5, ABSENT, 3))


def test_a_late_boat_is_never_the_winner() -> None:
    for seed in range(50):
        places = draw(only("late"), seed=seed).places

        assert places.count(LATE) == 1
        assert places[ORDER[0]] == 1


@pytest.mark.parametrize(
    ("name", "early"),
    [("one_false_start", 1), ("two_false_starts", 2), ("three_false_starts", 3), ("four_false_starts", 4)],
)
def test_false_starters_are_coded_and_leave_the_winner(name: str, early: int) -> None:
    for seed in range(50):
        finish = draw(only(name), seed=seed)

        assert finish.places.count(FALSE_START) == early
        assert finish.valid_count == 6 - early
        assert finish.placed_count == 6 - early
        assert finish.places[ORDER[0]] == 1


def test_five_false_starts_void_the_race_and_the_sixth_boat_has_no_place() -> None:
    finish = draw(only("five_false_starts"))

    assert finish.void
    assert sorted(finish.places, key=str) == [FALSE_START] * 5 + [None]


def test_when_nobody_finishes_nobody_is_placed() -> None:
    for seed in range(20):
        finish = draw(only("nobody_finished"), seed=seed)

        assert finish.void
        assert finish.placed_count == 0
        assert all(place is None or 7 <= place <= 13 for place in finish.places)


def test_at_least_two_boats_keep_their_places_when_the_others_fall_out() -> None:
    finish = draw(only("fell_out"))

    assert finish.placed_count == 2
    assert finish.places[ORDER[0]] == 1
    assert sorted(place for place in finish.places if place is not None)[:2] != [1, 1]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("dead_heat_first", [1, 1, 3, 4, 5, 6]),
        ("dead_heat_second", [1, 2, 2, 4, 5, 6]),
        ("dead_heat_third", [1, 2, 3, 3, 5, 6]),
    ],
)
def test_boats_that_share_a_place_leave_the_next_one_empty(name: str, places: list[int]) -> None:
    assert sorted(place for place in draw(only(name)).places if place is not None) == places
