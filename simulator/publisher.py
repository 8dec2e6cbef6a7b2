"""Computes the document that the source serves under a path at a given time."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from simulator.documents import FEEDS, Document, encode
from simulator.learner import IdealLearner
from simulator.races import Race
from simulator.season import SimulatedSeason
from simulator.stages import PublicationSchedule, day_steps
from simulator.versions import Edition, race_day

# Sizes of the caches. A live client requests two days and three feeds, a backfill one day after the other.
CACHED_DAYS = 4
CACHED_PAGES = 12

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class PublishedPage:
    """A document as served. The entity tag is a hash of the content, so an unchanged version keeps it."""

    body: bytes
    tag: str
    published_at: datetime


class Publisher:
    """Publishes a season. Not thread-safe: the server calls it under a lock."""

    def __init__(self, season: SimulatedSeason, pace: PublicationSchedule) -> None:
        self._season = season
        self._pace = pace
        self._days: OrderedDict[date, tuple[tuple[Race, ...], dict[str, Edition]]] = OrderedDict()
        self._pages: OrderedDict[tuple[str, date, int], PublishedPage] = OrderedDict()
        self._learner = IdealLearner(season)
        self._learner_bodies: OrderedDict[date, bytes] = OrderedDict()

    def page(self, path: str, now: datetime) -> PublishedPage | None:
        """The public document under this path (like `/programs/v2/today.json`); None if it does not exist (yet)."""
        if dated := dated_document(path):
            return self._dated(*dated, now)
        match path.split("/"):
            case ["", feed, "v2", "today.json"] if feed in FEEDS:
                return self._today(feed, now)
            case ["", "truth", "v1", year, name]:
                day = _day_of(year, name)
                return self._truth(day, now) if day else None
            case ["", "truth", "v1", "learner", year, name]:
                day = _day_of(year, name)
                return self._learner_page(day, now) if day else None
        return None

    def _today(self, feed: str, now: datetime) -> PublishedPage | None:
        """The newest document: that of the previous day until the day's first publication. After the season it is the
        last day's."""
        today = min(race_day(now), self._season.plan.last_date)
        return self._dated(feed, today, now) or self._dated(feed, today - timedelta(days=1), now)

    def _dated(self, feed: str, day: date, now: datetime) -> PublishedPage | None:
        if not self._season.contains(day) or day > race_day(now):
            return None
        edition = self._day(day)[1][feed]
        version = edition.version(now)
        if version is None:
            return None
        key = (feed, day, version)
        if key not in self._pages:
            self._pages[key] = published_page(edition.body(version), edition.published_at(version))
            _drop_oldest(self._pages, CACHED_PAGES)
        return self._pages[key]

    def _truth(self, day: date, now: datetime) -> PublishedPage | None:
        """True P(win) of every race of a day: `p_win` given everything, `p_win_listed` given the lasting latents only.

        Each sums to 1. `p_win` is the distribution that the race was drawn from: it depends on weather, courses, state
        and absences. `p_win_listed` averages over these. Both depend on latents that no forecast can know; see
        `_learner_page` for what a forecast can reach.
        """
        if not self._season.contains(day) or day > race_day(now):
            return None
        races, editions = self._day(day)
        truth = [
            {**_key(race), "p_win": list(race.p_win), "p_win_listed": listed}
            for race, listed in zip(races, self._season.listed_probability(races).tolist(), strict=True)
        ]
        return published_page(encode({"truth": truth}), editions["programs"].published_at(0))

    def _learner_page(self, day: date, now: datetime) -> PublishedPage | None:
        """P(win) of the ideal learner, which uses only published data: the best that a model can reach.

        `p_win_card` is from cards and results of earlier days. `p_win_observed` also uses the exhibition and earlier
        results of the day; null without an exhibition. The first answer takes about 60 ms for each earlier day of the
        season. A request for an earlier day than the last one starts the learner again.
        """
        if not self._season.contains(day) or day > race_day(now):
            return None
        if day not in self._learner_bodies:
            if day < self._learner.next_day:
                self._learner = IdealLearner(self._season)
            rows = [
                {
                    **_key(race),
                    "p_win_card": forecast.card.tolist(),
                    "p_win_observed": None if forecast.observed is None else forecast.observed.tolist(),
                }
                for race, forecast in zip(self._season.races(day), self._learner.forecasts(day), strict=True)
            ]
            self._learner_bodies[day] = encode({"learner": rows})
            _drop_oldest(self._learner_bodies, CACHED_DAYS)
        return published_page(self._learner_bodies[day], self._day(day)[1]["programs"].published_at(0))

    def _day(self, day: date) -> tuple[tuple[Race, ...], dict[str, Edition]]:
        if day not in self._days:
            races = self._season.races(day)
            steps = day_steps(races, self._season.plan.seed, self._pace, self._season.plan.rates)
            every_min = self._pace.publish_every_min
            self._days[day] = races, {feed: Edition(feed, races, steps[feed], every_min) for feed in FEEDS}
            _drop_oldest(self._days, CACHED_DAYS)
        return self._days[day]


def dated_document(path: str) -> tuple[str, date] | None:
    """Feed and day of the path of a dated document of a season; None for any other path."""
    dated = dated_path(path)
    return dated if dated and dated[0] in FEEDS else None


def dated_path(path: str) -> tuple[str, date] | None:
    """Feed and day of the path of a dated document, also of a feed that a season does not have."""
    match path.split("/"):
        case ["", feed, "v2", year, name] if day := _day_of(year, name):
            return feed, day
    return None


def published_page(body: bytes, published_at: datetime) -> PublishedPage:
    return PublishedPage(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', published_at)


def _key(race: Race) -> Document:
    return {"race_date": race.day.isoformat(), "race_stadium_number": race.venue, "race_number": race.number}


def _drop_oldest(cache: OrderedDict[K, V], max_size: int) -> None:
    while len(cache) > max_size:
        cache.popitem(last=False)


def _day_of(year: str, name: str) -> date | None:
    """The day of `2026` and `20260131.json`; None if it is not a date or the years differ."""
    digits = name.removesuffix(".json")
    well_formed = name.endswith(".json") and len(digits) == 8 and digits.isascii() and digits.isdigit()
    if not well_formed or digits[:4] != year:
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
