"""Draws the courses of boats: usually that of their number; sometimes a boat from further out moves inwards."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from simulator.accidents import ABSENT, LATE
from simulator.world import Ints

# A boat moves inwards in 12 % of races. With these values exhibition and race courses differ for 5 % of boats.
MOVES_IN, KEEPS_ITS_MOVE, MOVES_LATE = 0.12, 0.65, 0.04


def draw_courses(absent: list[int | None], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Courses of the exhibition and of the race, (races, 6); 0 for an absent boat."""
    shown, raced = [], []
    for gone in absent:
        boats = [boat for boat in range(6) if boat != gone]
        moved = _moved(boats, rng) if rng.random() < MOVES_IN else boats
        order = moved if rng.random() < KEEPS_ITS_MOVE else boats
        if rng.random() < MOVES_LATE:
            order = _moved(order, rng)
        shown.append([moved.index(boat) + 1 if boat in moved else 0 for boat in range(6)])
        raced.append([order.index(boat) + 1 if boat in order else 0 for boat in range(6)])
    return np.array(shown), np.array(raced)


def _moved(order: list[int], rng: np.random.Generator) -> list[int]:
    """A random boat moves inwards; the boats that it passes move outwards by one course."""
    taken = int(rng.integers(1, len(order)))
    to = int(rng.integers(0, taken))
    rest = order[:taken] + order[taken + 1 :]
    return [*rest[:to], order[taken], *rest[to:]]


def courses_run(course: list[int], places: tuple[int | None, ...], lost: list[bool]) -> list[int | None]:
    """Courses with None for absent boats and for late ones that are in `lost`. The other boats close up."""
    gone = [place == ABSENT or (place == LATE and lost[boat]) for boat, place in enumerate(places)]
    kept = sorted(own for own, out in zip(course, gone, strict=True) if not out)
    return [None if out else kept.index(own) + 1 for own, out in zip(course, gone, strict=True)]


def likely_courses(shown: list[int] | None) -> list[tuple[float, Ints]]:
    """The distribution of race courses in `draw_courses`: pairs of probability and courses (6,).

    Conditional on the courses of the exhibition; with None unconditional, for a race without absent boats. Course 0
    means an absent boat.
    """
    boats = list(range(6)) if shown is None else [boat for boat in range(6) if shown[boat] > 0]
    if shown is None:
        meant = [(1 - MOVES_IN * KEEPS_ITS_MOVE, boats)]
        meant += [(MOVES_IN * KEEPS_ITS_MOVE * chance, order) for chance, order in _moves(boats)]
    else:
        order = sorted(boats, key=lambda boat: shown[boat])
        meant = [(1.0, boats)] if order == boats else [(KEEPS_ITS_MOVE, order), (1 - KEEPS_ITS_MOVE, boats)]
    chances: dict[tuple[int, ...], float] = defaultdict(float)
    for chance, order in meant:
        chances[tuple(order)] += (1 - MOVES_LATE) * chance
        for late, moved in _moves(order):
            chances[tuple(moved)] += MOVES_LATE * late * chance
    return [
        (chance, np.array([order.index(boat) + 1 if boat in order else 0 for boat in range(6)]))
        for order, chance in chances.items()
    ]


def _moves(order: list[int]) -> list[tuple[float, list[int]]]:
    """Every outcome of `_with_random_move` with its probability."""
    return [
        (1 / ((len(order) - 1) * taken), [*rest[:to], order[taken], *rest[to:]])
        for taken in range(1, len(order))
        for rest in [order[:taken] + order[taken + 1 :]]
        for to in range(taken)
    ]
