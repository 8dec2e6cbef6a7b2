"""Estimates all latents from the published documents, given the generative model (Bayesian filtering).

The posterior of a racer's latents is a joint normal distribution; the other latents have independent ones. A race joins
the distributions that it depends on, updates them and stores the marginals. A result contributes its order, courses,
timings and weather, but not its payouts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator import entities, world
from simulator.accidents import ABSENT
from simulator.normal import Normal, OrderStage
from simulator.races import Race, RaceEntry
from simulator.world import Floats, Ints

ROUNDING_VARIANCE = 0.01**2 / 12  # variance of rounding to hundredths
# Slower exhibition laps were disturbed and carry no information.
MAX_LAP_S = 7.8
BOATS = 6
# Indices of a racer's latents: skill, start, one taste per course, form, then one affinity per venue.
TASTE, FORM, AFFINITY = 2, 8, 9
# Number of a race's latents beside those of its racers: motors, lanes of the venue, base time, condition, start form.
SHARED_LATENTS = 4 * BOATS + 1


class Beliefs:
    """The posteriors for a season at these venues. Days must be read in order."""

    def __init__(self, racers: int, venues: Sequence[int]) -> None:
        self._venues = {venue: at for at, venue in enumerate(sorted(venues))}
        self.size = AFFINITY + len(venues)
        self._racers = [Normal(np.zeros(self.size), np.eye(self.size)) for _ in range(racers)]
        self._motors: dict[tuple[int, int], tuple[float, float]] = {}
        self._lanes = {venue: Normal(np.zeros(BOATS), world.VENUE_LANE**2 * np.eye(BOATS)) for venue in venues}
        self._bases = dict.fromkeys(venues, (entities.BASE_MEAN_S, entities.BASE_SPREAD_S**2))
        self._seen_keys: set[tuple[int, ...]] = set()
        self._meeting: dict[int, tuple[int, int]] = {}

    def read_card(self, race: Race, meeting: int) -> None:
        """Update from a card. `meeting` numbers the venue's meetings; in a new one a racer gets a new form."""
        period = entities.half_year(race.day)
        for entry in race.entries:
            racer = _racer(entry)
            if self._meeting.get(racer) != (race.venue, meeting):
                self._meeting[racer] = (race.venue, meeting)
                self._racers[racer] = _with_new_form(self._racers[racer])
            if self._is_new(racer, period):
                self._learn(racer, *_card_measurements(entry, self.size))
            if self._is_new(racer, period, race.venue):
                self._learn(racer, *_local_card_measurements(entry, self.size, self._venues[race.venue]))
            self._motors.setdefault((race.venue, _motor(entry)), _motor_prior(entry))

    def prior_of(self, race: Race) -> Normal:
        """The distribution of all latents of a race before it, in the layout of the methods `*_rows`."""
        size, count = self.size, BOATS * self.size + SHARED_LATENTS
        mean, covariance = np.zeros(count), np.eye(count)
        for boat, entry in enumerate(race.entries):
            own, motor = slice(boat * size, (boat + 1) * size), BOATS * size + boat
            belief = self._racers[_racer(entry)]
            mean[own], covariance[own, own] = belief.mean, belief.covariance
            mean[motor], covariance[motor, motor] = self._motors[race.venue, _motor(entry)]
        lanes, base = self._venue_indices()
        mean[lanes], covariance[lanes, lanes] = self._lanes[race.venue].mean, self._lanes[race.venue].covariance
        mean[base], covariance[base, base] = self._bases[race.venue]
        return Normal(mean, covariance)

    def after_exhibition(self, race: Race, belief: Normal) -> Normal:
        """The distribution after the exhibition."""
        size, measurements = self.size, list[tuple[Floats, float, float]]()
        for boat, entry in enumerate(race.entries):
            exhibition, row = entry.exhibition, np.zeros((2, len(belief.mean)))
            if not 0 < exhibition.time < MAX_LAP_S:
                continue
            row[0, [boat * size, BOATS * size + boat, self._venue_indices()[1]]] = (
                -world.PACE_SKILL,
                -world.PACE_MOTOR,
                1,
            )
            row[0, self._condition_index(boat)] = -world.PACE_CONDITION
            measurements.append((row[0], exhibition.time, world.EXHIBITION_TIME_ERROR_S**2 + ROUNDING_VARIANCE))
            if exhibition.timing is not None:
                row[1, [boat * size + 1, self._start_form_index(boat)]] = (
                    -world.START_SPREAD_S,
                    -world.EXHIBITION_STATE_S,
                )
                timing = exhibition.timing - world.EXHIBITION_START_S
                measurements.append((row[1], timing, world.EXHIBITION_START_ERROR_S**2 + ROUNDING_VARIANCE))
        return belief.condition_on(*_stack(measurements, len(belief.mean)))

    def update_from_result(self, race: Race) -> None:
        """Update from the result of a race."""
        belief = self.after_exhibition(race, self.prior_of(race))
        measurements = list[tuple[Floats, float, float]]()
        for boat, entry in enumerate(race.entries):
            if entry.timing is not None and entry.timing > 0:
                row = np.zeros(len(belief.mean))
                row[[boat * self.size + 1, self._start_form_index(boat)]] = -world.START_SPREAD_S, -world.TIMING_STATE_S
                measurements.append(
                    (row, entry.timing - world.START_MEAN_S, world.TIMING_ERROR_S**2 + ROUNDING_VARIANCE)
                )
        belief = belief.condition_on(*_stack(measurements, len(belief.mean)))
        course = np.array([entry.course or 0 for entry in race.entries])
        stages = _stages(race, course)
        if stages:
            wind, wave = np.array(float(race.weather.wind)), np.array(float(race.weather.wave))
            lane = np.maximum(course, 1) - 1
            offset = (world.LANE + world.weather_effect(wind, wave))[lane]
            belief = belief.condition_on_order(self.utility_rows(race.venue, course), offset, stages)
        self._store_marginals(race, belief, course)

    def utility_rows(self, venue: int, course: Ints) -> Floats:
        """(6, N): coefficients of the latents in each boat's utility in these courses, the condition included."""
        size = self.size
        rows = np.zeros((BOATS, BOATS * size + SHARED_LATENTS))
        for boat, lane in enumerate((np.maximum(course, 1) - 1).tolist()):
            own = rows[boat, boat * size : (boat + 1) * size]
            own[[0, 1, TASTE + lane, FORM]] = world.SKILL, world.START, world.TASTE, world.FORM
            own[AFFINITY + self._venues[venue]] = world.AFFINITY
            rows[boat, BOATS * size + boat] = world.MOTOR
            rows[boat, BOATS * size + BOATS + lane] = 1
            rows[boat, self._condition_index(boat)], rows[boat, self._start_form_index(boat)] = (
                world.CONDITION,
                world.START_FORM,
            )
        return rows

    def course_rows(self) -> Floats:
        """(36 + 6, N): coefficients of the tastes, by boat and course, then of the venue's lanes."""
        rows = np.zeros((BOATS * BOATS + BOATS, BOATS * self.size + SHARED_LATENTS))
        for boat in range(BOATS):
            for lane in range(BOATS):
                rows[boat * BOATS + lane, boat * self.size + TASTE + lane] = world.TASTE
        rows[BOATS * BOATS :, self._venue_indices()[0]] = np.eye(BOATS)
        return rows

    def _store_marginals(self, race: Race, belief: Normal, course: Ints) -> None:
        mean, covariance, size = belief.mean, belief.covariance, self.size
        for boat, entry in enumerate(race.entries):
            if course[boat]:
                own, motor = slice(boat * size, (boat + 1) * size), BOATS * size + boat
                self._racers[_racer(entry)] = Normal(mean[own].copy(), covariance[own, own].copy())
                self._motors[race.venue, _motor(entry)] = float(mean[motor]), float(covariance[motor, motor])
        lanes, base = self._venue_indices()
        self._lanes[race.venue] = Normal(mean[lanes].copy(), covariance[lanes, lanes].copy())
        self._bases[race.venue] = float(mean[base]), float(covariance[base, base])

    def _learn(self, racer: int, rows: Floats, values: Floats, variance: Floats) -> None:
        self._racers[racer] = self._racers[racer].condition_on(rows, values, variance)

    def _is_new(self, *key: int) -> bool:
        new = key not in self._seen_keys
        self._seen_keys.add(key)
        return new

    def _venue_indices(self) -> tuple[slice, int]:
        first = BOATS * self.size + BOATS
        return slice(first, first + BOATS), first + BOATS

    def _condition_index(self, boat: int) -> int:
        return BOATS * self.size + 2 * BOATS + 1 + boat

    def _start_form_index(self, boat: int) -> int:
        return self._condition_index(boat) + BOATS


def _racer(entry: RaceEntry) -> int:
    return int(str(entry.card["racer_number"])) - entities.FIRST_NUMBER


def _motor(entry: RaceEntry) -> int:
    return int(str(entry.equipment["racer_assigned_motor_number"]))


def _value(value: object) -> float:
    return 0.0 if value is None else float(str(value))


def _with_new_form(racer: Normal) -> Normal:
    mean, covariance = racer.mean.copy(), racer.covariance.copy()
    mean[FORM], covariance[FORM], covariance[:, FORM] = 0, 0, 0
    covariance[FORM, FORM] = 1
    return Normal(mean, covariance)


def _card_measurements(entry: RaceEntry, size: int) -> tuple[Floats, Floats, Floats]:
    rows = np.zeros((2, size))
    rows[0, :2] = 1, entities.START_IN_RATING
    rows[1, 1] = -world.START_SPREAD_S
    values = np.array([_rating(entry, "national"), _value(entry.card["racer_average_start_timing"])])
    variance = np.array([entities.CARD_ERROR**2, entities.TIMING_CARD_ERROR_S**2 + ROUNDING_VARIANCE])
    known_rows = np.array([True, entry.card["racer_average_start_timing"] is not None])
    return rows[known_rows], (values - np.array([0, world.START_MEAN_S]))[known_rows], variance[known_rows]


def _local_card_measurements(entry: RaceEntry, size: int, venue: int) -> tuple[Floats, Floats, Floats]:
    row = np.zeros((1, size))
    row[0, AFFINITY + venue] = entities.AFFINITY_IN_RATING
    known_rows = slice(0, 1 if entry.card["racer_local_top_1_percent"] else 0)
    value = np.array([_rating(entry, "local") - _rating(entry, "national")])
    return row[known_rows], value[known_rows], np.array([entities.LOCAL_ERROR**2])[known_rows]


def _rating(entry: RaceEntry, kind: str) -> float:
    points = _value(entry.card[f"racer_{kind}_top_1_percent"])
    return (points - entities.POINTS_MEAN) / entities.POINTS_SPREAD


def _motor_prior(entry: RaceEntry) -> tuple[float, float]:
    share = _value(entry.equipment["racer_assigned_motor_top_2_percent"])
    if not share:
        return 0.0, 1.0
    trust = 1 / (1 + entities.MOTOR_CARD_ERROR**2)
    return trust * (share - entities.TOP_2_MEAN) * entities.TOP_2_SHRINK / entities.MOTOR_TOP_2_SPREAD, 1 - trust


def _stages(race: Race, course: Ints) -> list[OrderStage]:
    """Stages of the Plackett-Luce order: all starters in the first, then only the placed boats, up to a dead heat."""
    places = race.finish.places
    placed = sorted((place, boat) for boat, place in enumerate(places) if place is not None and place <= BOATS)
    if not placed or [place for place, _ in placed].count(1) != 1:
        return []
    stages = [(placed[0][1], [boat for boat in range(BOATS) if course[boat] and places[boat] != ABSENT])]
    for at in range(1, len(placed) - 1):
        if placed[at][0] == placed[at + 1][0]:
            break
        stages.append((placed[at][1], [boat for _, boat in placed[at:]]))
    return stages


def _stack(measurements: list[tuple[Floats, float, float]], width: int) -> tuple[Floats, Floats, Floats]:
    rows = np.array([row for row, _, _ in measurements]) if measurements else np.zeros((0, width))
    return (
        rows,
        np.array([value for _, value, _ in measurements]),
        np.array([variance for _, _, variance in measurements]),
    )
