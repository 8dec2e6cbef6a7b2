"""Turns an order of finish into the places that the source publishes: with codes for non-finishers, and dead heats.

The boat drawn first keeps its place unless the whole race is void. Therefore the true probabilities are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.rates import AnomalyRates

FALSE_START, LATE, ABSENT = 14, 15, 16
# Codes of boats that started validly and did not finish, with their frequencies in the real source.
NON_FINISH_CODES = (7, 8, 9, 10, 11, 12, 13)
NON_FINISH_WEIGHTS = np.array([198, 213, 1157, 334, 24, 79, 8]) / 2013
# The real source has no race with fewer valid starters in which another boat did not finish.
MIN_STARTERS_FOR_NON_FINISH = 4


@dataclass(frozen=True)
class Finish:
    """Places 1..6 or codes 7..16 per boat, None where the source has none. `void`: no boat is placed."""

    places: tuple[int | None, ...]
    void: bool = False

    @property
    def valid_count(self) -> int:
        """Number of boats whose stakes are not refunded: not absent, late or with a false start."""
        return sum(place is None or place < FALSE_START for place in self.places)

    @property
    def placed_count(self) -> int:
        return sum(place is not None and place <= 6 for place in self.places)


def draw_finish(order: list[int], absent: int | None, rates: AnomalyRates, rng: np.random.Generator) -> Finish:
    """Places of boats 0..5, given their order, first to last. `absent` is the boat that does not take part, if any."""
    codes = {} if absent is None else {absent: ABSENT}
    runners = [boat for boat in order if boat != absent]
    if absent is None:
        codes |= _bad_starts(runners, rates, rng)
    if len(runners) - sum(code == FALSE_START for code in codes.values()) == 1:
        return Finish(tuple(codes.get(boat) for boat in range(6)), void=True)
    if absent is None and not codes and rng.random() < rates.nobody_finished:
        codes_of_all: list[int | None] = [int(c) for c in rng.choice(NON_FINISH_CODES, 6, p=NON_FINISH_WEIGHTS)]
        return Finish((*codes_of_all[:5], None) if rng.random() < 0.5 else tuple(codes_of_all), void=True)
    codes |= _non_finishers([boat for boat in runners if boat not in codes], rates, rng)
    return Finish(_places([boat for boat in runners if boat not in codes], codes, rates, rng))


def _bad_starts(runners: list[int], rates: AnomalyRates, rng: np.random.Generator) -> dict[int, int]:
    chances = (rates.late, rates.one_false_start, rates.two_false_starts, rates.three_false_starts,
               rates.four_false_starts, rates.five_false_starts)  # fmt: skip
    kind = int(np.searchsorted(np.cumsum(chances), rng.random(), side="right"))
    if kind == len(chances):
        return {}
    boats = rng.permutation(runners[1:])[: max(1, kind)]
    return dict.fromkeys((int(boat) for boat in boats), LATE if kind == 0 else FALSE_START)


def _non_finishers(starters: list[int], rates: AnomalyRates, rng: np.random.Generator) -> dict[int, int]:
    """At least two boats keep their places, as in every race of the real source."""
    if len(starters) < MIN_STARTERS_FOR_NON_FINISH:
        return {}
    boats = [
        boat
        for boat, chance in zip(starters[1:], rng.random(len(starters) - 1), strict=True)
        if chance < rates.fell_out
    ]
    boats = boats[: len(starters) - 2]
    return {
        boat: int(code)
        for boat, code in zip(boats, rng.choice(NON_FINISH_CODES, len(boats), p=NON_FINISH_WEIGHTS), strict=True)
    }


def _places(
    placed: list[int], codes: dict[int, int], rates: AnomalyRates, rng: np.random.Generator
) -> tuple[int | None, ...]:
    ranks = list(range(1, len(placed) + 1))
    if len(placed) == 6:
        chances = (rates.dead_heat_first, rates.dead_heat_second, rates.dead_heat_third,
                   rates.dead_heat_behind / 2, rates.dead_heat_behind / 2)  # fmt: skip
        tied = int(np.searchsorted(np.cumsum(chances), rng.random(), side="right")) + 1
        if tied <= len(chances):
            ranks[tied] = tied
    places: dict[int, int] = dict(zip(placed, ranks, strict=True)) | codes
    return tuple(places.get(boat) for boat in range(6))
