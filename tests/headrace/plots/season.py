"""Loads simulated days with the real cleaner and loader, as documents that follow each other, and their predictions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg.types.json import Jsonb

from services.cleaner.handle import Cleaner
from services.fetcher.capture import Capture
from services.fetcher.planning.cursor import SliceVersion
from services.fetcher.sources.documents import Document
from services.fetcher.sources.yaml_file import load_source
from services.loader.load import Loader
from shared.broker.contract import NewRecord, Record
from shared.records import DecodedRecord, decode
from shared.runtime.metrics import Metrics
from simulator.documents import FEEDS, RaceStage, document, final_stage
from simulator.races import Race
from simulator.season import SeasonPlan, SimulatedSeason
from simulator.versions import JST
from tests.services.loader.facts import StillClock

Connection = psycopg.Connection[Any]
FIRST = date(2026, 1, 25)
DAYS = 12
FIRST_PREDICTED = date(2026, 1, 29)
MODEL, SHADOW = "20260128-1200-abc", "20260129-0900-def"
# Of a day, in Japan: cards, changed cards, observations, results with a wrong start time in event 4, final results.
TIMES = (("programs", 7), ("programs", 8), ("previews", 9), ("results", 18), ("results", 19))
NOISE = {"card": 0.8, "observation": 0.3}
INSERT = """
INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash, probabilities)
SELECT %s, id, %s, %s, %s, %s, 'h', %s FROM facts.events WHERE event_key = %s"""


def load_season(connection: Connection, days: int = DAYS, venues: tuple[int, ...] = (3, 9, 15, 21)) -> None:
    """12 events at each venue a day; predictions from FIRST_PREDICTED on, by a live model and a shadow."""
    season = SimulatedSeason(SeasonPlan(seed=7, first_date=FIRST, days=days, venues=venues))
    source, cleaner, loader = load_source("boatrace"), Cleaner(lambda reason: None), Loader(StillClock(), Metrics())
    captures = {feed.name: Capture(source, feed) for feed in source.feeds}
    for offset in range(days):
        races = season.races(FIRST + timedelta(days=offset))
        versions: dict[str, dict[str, SliceVersion]] = {feed: {} for feed in FEEDS}
        for each in documents(races):
            result = captures[each.feed](each, versions[each.feed])
            versions[each.feed] = result.versions
            loader.handle(decoded(cleaner.handle(decoded(result.records))), connection)
    predict(connection, [race for offset in range(days) for race in season.races(FIRST + timedelta(days=offset))])
    connection.commit()


def documents(races: tuple[Race, ...]) -> Iterator[Document]:
    for index, (feed, hour) in enumerate(TIMES):
        at = datetime.combine(races[0].day, time(hour), JST)
        body = document(feed, [(race, stage_of(feed, race, index)) for race in races])
        yield Document(feed, races[0].day, f"{feed}/{index}", body, at, published_at=at)


def stage_of(feed: str, race: Race, index: int) -> RaceStage:
    final = final_stage(feed, race)
    if index == 0:
        return RaceStage.LISTED
    return RaceStage.MISREAD if index == 3 and race.number == 4 and final is RaceStage.SETTLED else final


def predict(connection: Connection, races: list[Race]) -> None:
    random = np.random.default_rng(7)
    for number, race in enumerate(races):
        if race.day < FIRST_PREDICTED:
            continue
        key = f"boatrace:{race.day}:{race.venue:02}:{race.number:02}"
        for variant, (state, model) in enumerate((("card", MODEL), ("observation", MODEL), ("observation", SHADOW))):
            weights = np.array(race.p_win) * np.exp(NOISE[state] * random.standard_normal(6))
            probabilities = [
                {"head": "result", "slot": slot, "label": "win", "probability": float(weight)}
                for slot, weight in enumerate(weights / weights.sum(), start=1)
            ]
            as_of = datetime.combine(race.day, time(7 if state == "card" else 9), JST)
            record_id = UUID(int=10 * number + variant)
            values = (record_id, state, model, as_of, model == SHADOW, Jsonb(probabilities), key)
            connection.execute(INSERT, values)


def decoded(records: list[NewRecord]) -> list[DecodedRecord]:
    return [decode(Record(new.topic, 0, 0, 0, new.key, new.value, new.headers)) for new in records]
