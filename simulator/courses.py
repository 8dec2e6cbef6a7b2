"""The courses boats take: mostly that of their number, now and then one from further out moves in."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from simulator.accidents import ABSENT, LATE
from simulator.world import Ints

# Among a hundred races some twelve see a boat move inwards; so much that exhibition and race differ for 5 % of boats.
MOVES_IN, KEEPS_ITS_MOVE, MOVES_LATE = 0.12, 0.65, 0.04


def draw_courses(absent: list[int | None], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Courses of the exhibition and of the race, (races, 6); 0 for a boat that is not there."""
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
    """One boat goes further in, the passed ones move out by one."""
    taken = int(rng.integers(1, len(order)))
    to = int(rng.integers(0, taken))
    rest = order[:taken] + order[taken + 1 :]
    return [*rest[:to], order[taken], *rest[to:]]


def courses_run(course: list[int], places: tuple[int | None, ...], lost: list[bool]) -> list[int | None]:
    """None for who was absent, and for some who were late; the others close up."""
    gone = [place == ABSENT or (place == LATE and lost[boat]) for boat, place in enumerate(places)]
    kept = sorted(own for own, out in zip(course, gone, strict=True) if not out)
    return [None if out else kept.index(own) + 1 for own, out in zip(course, gone, strict=True)]


def likely_courses(shown: list[int] | None) -> list[tuple[float, Ints]]:
    """The law of `draw_courses`: (chance, courses of the race (6,)) given those of the exhibition, or given nothing.

    0 stands for a boat that is not there; given nothing, all are taken to be.
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
    """Every outcome of `_moved`, with its chance."""
    return [
        (1 / ((len(order) - 1) * taken), [*rest[:to], order[taken], *rest[to:]])
        for taken in range(1, len(order))
        for rest in [order[:taken] + order[taken + 1 :]]
        for to in range(taken)
    ]
