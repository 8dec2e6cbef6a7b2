"""A season: all races at all venues over a span of days, drawn from one seed. Each day is drawn independently."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from simulator import world
from simulator.draws import Draw, stream
from simulator.entities import HULLS, MOTORS, Card, Racers, Venue, draw_cards, draw_racers, draw_venue, half_year
from simulator.races import Race
from simulator.rates import AnomalyRates
from simulator.schedule import RACERS_PER_MEETING
from simulator.venue_day import VenueDayInputs, venue_day

# Racers for two meetings per venue, so that a racer is in every second meeting on average.
RACERS_PER_VENUE = 2 * RACERS_PER_MEETING

# Cards of all racers are drawn once for each venue and half year. Requests around the turn need two half years.
HALF_YEARS_CACHED = 2


@dataclass(frozen=True)
class SeasonPlan:
    """The parameters of a season. Deadlines are minutes from midnight JST."""

    seed: int = 7
    first_date: date = date(2026, 1, 1)
    days: int = 61
    venues: tuple[int, ...] = (3, 9, 15, 21)
    races_per_venue: int = 12
    first_deadline_min: int = 10 * 60 + 30
    last_deadline_min: int = 16 * 60 + 30
    rates: AnomalyRates = field(default_factory=AnomalyRates)

    def __post_init__(self) -> None:
        if self.days < 1 or self.seed < 0:
            raise ValueError(f"expected at least 1 day and a seed of 0 or more, got {self.days} and {self.seed}")
        if not 1 <= self.races_per_venue <= 12:
            raise ValueError(f"expected 1 to 12 races per venue and day, got {self.races_per_venue}")
        if not self.venues or len(set(self.venues)) < len(self.venues) or not set(self.venues) <= set(range(1, 25)):
            raise ValueError(f"expected different stadium numbers from 1 to 24, got {self.venues}")
        if not 0 < self.first_deadline_min <= self.last_deadline_min - self.races_per_venue + 1:
            raise ValueError("the first and the last deadline must be at least one minute per race apart")
        if self.last_deadline_min > 23 * 60:
            raise ValueError("the last deadline must be at 23:00 or earlier, to leave time for the result")

    @property
    def last_date(self) -> date:
        return self.first_date + timedelta(days=self.days - 1)


def spread_venues(count: int) -> tuple[int, ...]:
    """`count` of the 24 stadium numbers, evenly spread; 4 gives 3, 9, 15, 21."""
    if not 1 <= count <= 24:
        raise ValueError(f"expected 1 to 24 venues, got {count}")
    return tuple(int(3 + 24 * place / count - 1) % 24 + 1 for place in range(count))


class SimulatedSeason:
    """Draws days on demand and caches only what all days share. Not thread-safe."""

    def __init__(self, plan: SeasonPlan) -> None:
        self.plan = plan
        self._racers: Racers = draw_racers(plan.seed, self.racer_count)
        self._venues: dict[int, Venue] = {v: draw_venue(plan.seed, v, self.racer_count) for v in plan.venues}
        self._cards: OrderedDict[tuple[int, int], list[Card]] = OrderedDict()

    @property
    def racer_count(self) -> int:
        return RACERS_PER_VENUE * len(self.plan.venues)

    def contains(self, day: date) -> bool:
        return self.plan.first_date <= day <= self.plan.last_date

    def races(self, day: date) -> tuple[Race, ...]:
        """The races of a day by stadium and number. Raises KeyError for a day outside the season."""
        if not self.contains(day):
            raise KeyError(day)
        return tuple(race for venue in sorted(self.plan.venues) for race in venue_day(self._setting(venue, day)))

    def listed_probability(self, races: tuple[Race, ...]) -> world.Floats:
        """(races, 6): P(win) before weather and state are known. All races must be of one day."""
        rng = stream(self.plan.seed, Draw.LISTED_TRUTH, races[0].day.toordinal())
        return world.listed_probability(np.array([race.lasting for race in races]), rng)

    def _setting(self, venue: int, day: date) -> VenueDayInputs:
        plan = self.plan
        return VenueDayInputs(
            seed=plan.seed,
            day=day,
            venue=venue,
            slot=sorted(plan.venues).index(venue),
            venues=len(plan.venues),
            races=plan.races_per_venue,
            first_deadline_min=plan.first_deadline_min,
            last_deadline_min=plan.last_deadline_min,
            rates=plan.rates,
            racers=self._racers,
            place=self._venues[venue],
            cards=self._cards_of(venue, day),
            equipment=(MOTORS, HULLS),
        )

    def _cards_of(self, venue: int, day: date) -> list[Card]:
        key = (venue, half_year(day))
        if key not in self._cards:
            self._cards[key] = draw_cards(self.plan.seed, self._racers, venue, self._venues[venue].affinity, key[1])
            if len(self._cards) > HALF_YEARS_CACHED * len(self.plan.venues):
                self._cards.popitem(last=False)
        return self._cards[key]
