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
    """A world in which nothing but one thing happens, and that always."""
    return AnomalyRates(**{f.name: float(f.name == name) for f in fields(AnomalyRates)})


def drawn(rates: AnomalyRates, absent: int | None = None, seed: int = 0) -> Finish:
    return draw_finish(ORDER, absent, rates, np.random.default_rng(seed))


def test_without_accident_the_order_is_the_places() -> None:
    assert drawn(NEVER) == Finish((2, 5, 1, 6, 3, 4))


def test_an_absent_boat_has_its_code_and_the_others_close_up() -> None:
    assert drawn(NEVER, absent=4) == Finish((2, 4, 1, 5, ABSENT, 3))


def test_a_late_boat_is_never_the_winner() -> None:
    for seed in range(50):
        places = drawn(only("late"), seed=seed).places

        assert places.count(LATE) == 1
        assert places[ORDER[0]] == 1


@pytest.mark.parametrize(
    ("name", "early"),
    [("one_false_start", 1), ("two_false_starts", 2), ("three_false_starts", 3), ("four_false_starts", 4)],
)
def test_false_starters_are_coded_and_leave_the_winner(name: str, early: int) -> None:
    for seed in range(50):
        done = drawn(only(name), seed=seed)

        assert done.places.count(FALSE_START) == early
        assert done.valid_count == 6 - early
        assert done.placed_count == 6 - early
        assert done.places[ORDER[0]] == 1


def test_five_false_starts_void_the_race_and_the_sixth_boat_has_no_place() -> None:
    done = drawn(only("five_false_starts"))

    assert done.void
    assert sorted(done.places, key=str) == [FALSE_START] * 5 + [None]


def test_when_nobody_finishes_nobody_is_placed() -> None:
    for seed in range(20):
        done = drawn(only("nobody_finished"), seed=seed)

        assert done.void
        assert done.placed_count == 0
        assert all(place is None or 7 <= place <= 13 for place in done.places)


def test_two_boats_at_least_keep_their_places_when_the_others_fall_out() -> None:
    done = drawn(only("fell_out"))

    assert done.placed_count == 2
    assert done.places[ORDER[0]] == 1
    assert sorted(place for place in done.places if place is not None)[:2] != [1, 1]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("dead_heat_first", [1, 1, 3, 4, 5, 6]),
        ("dead_heat_second", [1, 2, 2, 4, 5, 6]),
        ("dead_heat_third", [1, 2, 3, 3, 5, 6]),
    ],
)
def test_boats_that_share_a_place_leave_the_next_one_empty(name: str, places: list[int]) -> None:
    assert sorted(place for place in drawn(only(name)).places if place is not None) == places
