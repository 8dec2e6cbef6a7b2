"""Builds the six entries of each race from the results of a venue's day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator import world
from simulator.accidents import ABSENT, FALSE_START, LATE, Finish
from simulator.courses import published_courses
from simulator.entities import Card, Racers, Venue, published_number
from simulator.observed import exhibitions
from simulator.races import Exhibition, Number, RaceEntry
from simulator.rates import AnomalyRates
from simulator.world import Floats, Ints, Latents


@dataclass(frozen=True)
class VenueDayResults:
    """What happened in the races of a venue's day; arrays (races, 6)."""

    racer: Ints
    motor: Ints
    hull: Ints
    course: Ints
    exhibition_course: Ints
    wind: Floats
    wave: Floats
    p_win: Floats
    lasting: Floats
    finishes: list[Finish]
    latents: Latents


def build_entries(
    racers: Racers, place: Venue, cards: list[Card], run: VenueDayResults, rates: AnomalyRates, rng: np.random.Generator
) -> list[tuple[RaceEntry, ...]]:
    shape = run.racer.shape
    usual = racers.weight_kg[run.racer]
    listed_weight, weight = (usual + rng.normal(0.0, 0.3, shape) for _ in range(2))
    shown: list[list[Exhibition]] = exhibitions(
        run.latents, place.base_time_s, run.exhibition_course, weight, rates, rng
    )
    timing = world.start_timing_s(run.latents, rng).tolist()
    early = rng.integers(1, 8, shape).tolist()
    lost_course = (rng.random(shape) < rates.late_without_course).tolist()
    columns = zip(
        run.racer.tolist(), run.motor.tolist(), run.hull.tolist(), listed_weight.tolist(), weight.tolist(), strict=True
    )
    races = []
    for i, (who, motors, hulls, listed, measured) in enumerate(columns):
        places = run.finishes[i].places
        course = published_courses(run.course[i].tolist(), places, lost_course[i])
        races.append(
            tuple(
                RaceEntry(
                    boat=b + 1,
                    card=cards[who[b]],
                    equipment={**place.motor_cards[motors[b]], **place.hull_cards[hulls[b]]},
                    listed_weight=published_number(listed[b], 1),
                    weight=published_number(measured[b], 1),
                    exhibition=shown[i][b],
                    course=course[b],
                    timing=_timing(places[b], timing[i][b], early[i][b]),
                )
                for b in range(6)
            )
        )
    return races


def _timing(place: int | None, timing_s: float, early: int) -> Number | None:
    """The published start timing: negative if and only if the start was false; None for a late or absent boat."""
    if place in {LATE, ABSENT}:
        return None
    return -early / 100 if place == FALSE_START else published_number(timing_s)
