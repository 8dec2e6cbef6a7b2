"""Draws the course (starting lane) of each boat: usually its number; sometimes an outer boat moves inwards."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from simulator.accidents import ABSENT, LATE
from simulator.world import Ints

# Probabilities that a boat moves inwards in the exhibition, that the race then keeps this order, and that a boat moves
# inwards in the race only. With these values exhibition and race courses differ for 5 % of boats.
MOVE_RATE, KEEP_MOVE_RATE, LATE_MOVE_RATE = 0.12, 0.65, 0.04


def draw_courses(absent: list[int | None], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Courses of the exhibition and of the race, (races, 6); 0 for an absent boat."""
    exhibition, race = [], []
    for absentee in absent:
        boats = [boat for boat in range(6) if boat != absentee]
        moved = _with_random_move(boats, rng) if rng.random() < MOVE_RATE else boats
        order = moved if rng.random() < KEEP_MOVE_RATE else boats
        if rng.random() < LATE_MOVE_RATE:
            order = _with_random_move(order, rng)
        exhibition.append([moved.index(boat) + 1 if boat in moved else 0 for boat in range(6)])
        race.append([order.index(boat) + 1 if boat in order else 0 for boat in range(6)])
    return np.array(exhibition), np.array(race)


def _with_random_move(order: list[int], rng: np.random.Generator) -> list[int]:
    """A random boat moves inwards; the boats that it passes move outwards by one course."""
    start = int(rng.integers(1, len(order)))
    to = int(rng.integers(0, start))
    rest = order[:start] + order[start + 1 :]
    return [*rest[:to], order[start], *rest[to:]]


def published_courses(course: list[int], places: tuple[int | None, ...], lost: list[bool]) -> list[int | None]:
    """The courses, numbered without gaps. None for an absent boat, and for a late boat if its `lost` is true."""
    is_missing = [place == ABSENT or (place == LATE and lost[boat]) for boat, place in enumerate(places)]
    remaining = sorted(own for own, out in zip(course, is_missing, strict=True) if not out)
    return [None if out else remaining.index(own) + 1 for own, out in zip(course, is_missing, strict=True)]


def course_distribution(exhibition: list[int] | None) -> list[tuple[float, Ints]]:
    """The distribution of race courses in `draw_courses`: pairs of probability and courses (6,).

    Conditional on the courses of the exhibition; with None unconditional, for a race without absent boats. Course 0
    means an absent boat.
    """
    boats = list(range(6)) if exhibition is None else [boat for boat in range(6) if exhibition[boat] > 0]
    if exhibition is None:
        intended = [(1 - MOVE_RATE * KEEP_MOVE_RATE, boats)]
        intended += [(MOVE_RATE * KEEP_MOVE_RATE * chance, order) for chance, order in _move_distribution(boats)]
    else:
        order = sorted(boats, key=lambda boat: exhibition[boat])
        intended = [(1.0, boats)] if order == boats else [(KEEP_MOVE_RATE, order), (1 - KEEP_MOVE_RATE, boats)]
    chances: dict[tuple[int, ...], float] = defaultdict(float)
    for chance, order in intended:
        chances[tuple(order)] += (1 - LATE_MOVE_RATE) * chance
        for late, moved in _move_distribution(order):
            chances[tuple(moved)] += LATE_MOVE_RATE * late * chance
    return [
        (chance, np.array([order.index(boat) + 1 if boat in order else 0 for boat in range(6)]))
        for order, chance in chances.items()
    ]


def _move_distribution(order: list[int]) -> list[tuple[float, list[int]]]:
    """Every outcome of `_with_random_move` with its probability."""
    return [
        (1 / ((len(order) - 1) * index), [*rest[:to], order[index], *rest[to:]])
        for index in range(1, len(order))
        for rest in [order[:index] + order[index + 1 :]]
        for to in range(index)
    ]
