"""Forecasts races with an ideal learner, which knows the generative model but not the latents.

`p_win` and `p_win_listed` use the true skills, motors and states of the day. No forecast can: the state of a day is
visible only in a noisy exhibition, and a season has too few races to determine the tastes and affinities of 384 racers.
The learner knows every coefficient of `world` and `entities`, reads cards, exhibitions and results in order, and infers
the latents from them. No model can be expected to do better.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from simulator import world
from simulator.beliefs import BOATS, Beliefs
from simulator.courses import course_distribution
from simulator.draws import Draw, stream
from simulator.normal import Normal
from simulator.races import Race, RaceStatus, Weather
from simulator.schedule import MEETING_DAYS
from simulator.season import SimulatedSeason
from simulator.world import Floats, Ints

SAMPLES = 256
# Standard deviations of the weather observed before a race from the weather of the race.
WIND_ERROR, WAVE_ERROR = 0.6, 0.4


class LearnerForecast(NamedTuple):
    """P(win) of the six boats, from the card and from the exhibition. `observed` is None without an exhibition."""

    card: Floats
    observed: Floats | None


class IdealLearner:
    """Reads a season day by day from its beginning. Takes a few milliseconds per race. Not thread-safe."""

    def __init__(self, season: SimulatedSeason) -> None:
        self._season = season
        self._beliefs = Beliefs(season.racer_count, season.plan.venues)
        self.next_day = season.plan.first_date

    def forecasts(self, day: date) -> list[LearnerForecast]:
        """Forecasts for each race of that day, in the season's order.

        A forecast from the card uses all results of the days before; one from the exhibition also those of earlier
        races of the day. Raises KeyError for a day outside the season or before `next_day`.
        """
        if not self._season.contains(day) or day < self.next_day:
            raise KeyError(day)
        while self.next_day < day:
            self._read_day(self.next_day, forecast=False)
        return self._read_day(day, forecast=True)

    def _read_day(self, day: date, *, forecast: bool) -> list[LearnerForecast]:
        races = self._season.races(day)
        for race in races:
            self._beliefs.read_card(race, day.toordinal() // MEETING_DAYS)
        cards = [self._from_card(race) for race in races] if forecast else []
        observed: dict[tuple[int, int], Floats | None] = {}
        for race in sorted(races, key=lambda race: (race.deadline_min, race.venue)):
            if forecast:
                observed[race.venue, race.number] = self._from_observation(race)
            if race.status is RaceStatus.RUN:
                self._beliefs.update_from_result(race)
        self.next_day = day + timedelta(days=1)
        races_and_cards = zip(races, cards, strict=True) if forecast else ()
        return [LearnerForecast(card, observed[race.venue, race.number]) for race, card in races_and_cards]

    def _from_card(self, race: Race) -> Floats:
        rng = _rng(self._season, race, 0)
        wind, wave = world.draw_weather(rng, (SAMPLES,), 1)
        effect = world.weather_effect(wind[:, 0], wave[:, 0])
        return self._mixture(race, self._beliefs.prior_of(race), course_distribution(None), effect, rng)

    def _from_observation(self, race: Race) -> Floats | None:
        shown = [entry.exhibition.course for entry in race.entries]
        lap_courses = [
            course if entry.exhibition.time else 0 for course, entry in zip(shown, race.entries, strict=True)
        ]
        if (
            race.status is RaceStatus.CALLED_OFF
            or race.preview_blanked
            or None in lap_courses
            or sum(map(bool, lap_courses)) < 2
        ):
            return None
        rng = _rng(self._season, race, 1)
        belief = self._beliefs.after_exhibition(race, self._beliefs.prior_of(race))
        courses = course_distribution([course or 0 for course in lap_courses])
        return self._mixture(race, belief, courses, _weather_effect(race.preview_weather, rng), rng)

    def _mixture(
        self, race: Race, belief: Normal, courses: list[tuple[float, Ints]], effect: Floats, rng: np.random.Generator
    ) -> Floats:
        """P(win) averaged over the latents, the weather's effect (SAMPLES, 6 courses) and the courses."""
        by_course = self._beliefs.course_rows()
        anywhere = self._beliefs.utility_rows(race.venue, np.arange(1, BOATS + 1))
        own = np.arange(BOATS)
        anywhere = anywhere - by_course[own * BOATS + own] - by_course[BOATS * BOATS + own]
        drawn = belief.sample(np.concatenate([anywhere, by_course]), SAMPLES, rng)
        boat, taste, lane = np.split(drawn, [BOATS, BOATS + BOATS * BOATS], axis=1)
        taste, lane = taste.reshape(SAMPLES, BOATS, BOATS), lane + world.LANE + effect
        probabilities = np.zeros(BOATS)
        for chance, course in courses:
            at = np.maximum(course, 1) - 1
            probabilities += chance * world.win_probability(
                np.where(course > 0, boat + taste[:, own, at] + lane[:, at], -np.inf)
            ).mean(axis=0)
        return probabilities


def _weather_effect(observed: Weather, rng: np.random.Generator) -> Floats:
    wind = np.maximum(0.0, observed.wind + rng.normal(0.0, WIND_ERROR, SAMPLES))
    wave = np.maximum(0.0, observed.wave + rng.normal(0.0, WAVE_ERROR, SAMPLES))
    return world.weather_effect(wind, wave)


def _rng(season: SimulatedSeason, race: Race, state: int) -> np.random.Generator:
    return stream(season.plan.seed, Draw.LEARNER, race.day.toordinal(), race.venue, race.number, state)
