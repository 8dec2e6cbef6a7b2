"""The features of frames are the inputs that the predictor computes from the same tables, to the bit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from pydantic import BaseModel

from headrace.database.embedded import EmbeddedPostgres
from headrace.frames import BadArgument, connect
from headrace.frames.as_of.event_facts import event_facts
from headrace.frames.as_of.past import Past
from headrace.frames.days import Days
from headrace.frames.features import FeatureRequest, ModelEncoding, features_frame, model_encoding
from headrace.frames.query import Filters
from services.fetcher.sources.documents import Document
from services.loader.load import Loader
from services.predictor.data.events import STATES, State, events_of, supported_events
from services.predictor.data.profile import BOATRACE
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of
from services.predictor.registry.store import Registry, Tensors
from services.predictor.storage.postgres_facts import read_events, read_settled
from shared.broker.contract import Record
from shared.records import DecodedRecord, decode
from shared.runtime.metrics import Metrics
from simulator.publisher import Publisher
from simulator.rates import AnomalyRates
from simulator.season import SeasonPlan, SimulatedSeason
from simulator.stages import PublicationSchedule
from tests.headrace.frames.as_of.reading import reader_of
from tests.services.cleaner.recorded import FEEDS
from tests.services.loader.conftest import own_database
from tests.services.loader.facts import StillClock
from tests.services.loader.test_recorded_day import clean_batches, final_documents
from tests.services.predictor.features.reading import encoding_of
from tests.services.predictor.model_requests import order
from tests.services.predictor.small_models import tensors_of

Connection = psycopg.Connection[Any]
FIRST = date(2026, 1, 5)
DAYS = [FIRST + timedelta(days=offset) for offset in range(4)]
RECORDED = [date(2026, 1, 10), date(2026, 1, 11), date(2026, 1, 12)]
# In the middle of the last day but one, by the source's clock.
INSTANT = datetime(2026, 1, 7, 4, tzinfo=UTC)


def simulated_documents() -> Iterator[Document]:
    """Four days of two venues, with many cancellations, false starts and gaps."""
    plan = SeasonPlan(first_date=FIRST, days=4, venues=(7, 9), seed=3, rates=AnomalyRates().multiplied_by(10.0))
    publisher = Publisher(SimulatedSeason(plan), PublicationSchedule())
    later = datetime(2026, 2, 1, tzinfo=UTC)
    for day in DAYS:
        for feed in FEEDS:
            page = publisher.page(f"/{feed}/v2/{day:%Y/%Y%m%d}.json", later)
            assert page is not None
            yield Document(feed, day, f"{day}.json", page.body, later, historical=True)


def load(connection: Connection, documents: Iterator[Document], limit: datetime | None = None) -> None:
    loader = Loader(StillClock(), Metrics(), as_of_limit=limit)
    for batch in clean_batches(documents):
        loader.handle(decoded(batch), connection)


def decoded(batch: Sequence[Any]) -> list[DecodedRecord]:
    return [decode(Record(each.topic, 0, 0, 0, *each[1:4])) for each in batch]


@pytest.fixture(scope="module")
def url(postgres: EmbeddedPostgres) -> Iterator[str]:
    with own_database(postgres) as url:
        with psycopg.connect(url) as connection:
            load(connection, simulated_documents())
        yield url


@pytest.fixture
def season(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def limited(postgres: EmbeddedPostgres) -> Iterator[Connection]:
    """A database that was loaded as of INSTANT."""
    with own_database(postgres) as url:
        with psycopg.connect(url) as connection:
            load(connection, simulated_documents(), INSTANT)
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection


def fitted_encoding(connection: Connection) -> Encoding:
    events = events_of(read_settled(connection), BOATRACE.slots)
    history = History(BOATRACE)
    history.fold(events)
    return encoding_of(events, history)


def inputs_of_the_predictor(
    connection: Connection, days: Sequence[date], encoding: Encoding, state: State
) -> tuple[list[str], Inputs]:
    """As services/predictor/serving: the history of all settled events, then the events, from the tables."""
    history = History(BOATRACE)
    history.fold(events_of(read_settled(connection), BOATRACE.slots))
    rows = connection.execute(
        "SELECT event_key FROM analytics.events JOIN analytics.sessions USING (session_key) WHERE date = ANY(%s)"
        ' ORDER BY event_key COLLATE "C"',
        (list(days),),
    ).fetchall()
    by_key = {each.event_key: each for each in read_events(connection, [key for (key,) in rows])}
    facts = supported_events([by_key[key] for (key,) in rows], BOATRACE.slots)
    events = events_of(facts, BOATRACE.slots)
    events = events[np.isfinite(events.as_of_us(state))]
    return events.event_key.tolist(), inputs_of(events, history, encoding, state)


def assert_same_bits(frame: pd.DataFrame, keys: list[str], inputs: Inputs, encoding: Encoding) -> None:
    occupied = inputs.occupied
    of_event = np.nonzero(occupied)[0]
    assert frame.event_key.tolist() == [keys[at] for at in of_event]
    assert frame.slot.tolist() == (np.nonzero(occupied)[1] + 1).tolist()
    assert frame[list(encoding.entry_features)].to_numpy().tobytes() == inputs.entry[occupied].tobytes()
    assert frame[list(encoding.event_features)].to_numpy().tobytes() == inputs.event[of_event].tobytes()
    assert frame.venue_index.tolist() == inputs.venue[of_event].tolist()
    assert frame.course.fillna(0).tolist() == inputs.course[occupied].tolist()
    hashes = inputs.hashes()  # of all inputs, also of the tokens of past starts
    assert frame.feature_hash.tolist() == [hashes[at] for at in of_event]


def features(
    connection: Connection, days: Days, encoding: Encoding | None, state: State, instant: datetime | None = None
) -> pd.DataFrame:
    model = None if encoding is None else ModelEncoding("model", encoding)
    return features_frame(Past(reader_of(connection), instant), FeatureRequest(Filters(days), state, model))


def assert_same_facts(season: Connection, instant: datetime | None = None, tables: Connection | None = None) -> None:
    """The facts are those that the predictor reads from the tables. `tables`: another database of the same facts."""
    known = [event for events in Past(reader_of(season), instant).events(Filters()) for event in events]
    facts = {each.event_key: each for each in event_facts(known, BOATRACE)}
    assert facts == {each.event_key: each for each in read_events(tables or season, sorted(facts))}
    settled = {each.event_key for each in read_settled(tables or season)}
    assert {each.event_key for each in facts.values() if each.status == "settled"} == settled != set()


@pytest.mark.parametrize("state", STATES)
def test_features_are_the_inputs_of_the_predictor(season: Connection, state: State) -> None:
    encoding = fitted_encoding(season)

    frame = features(season, Days(DAYS[1], DAYS[2]), encoding, state)

    assert_same_bits(frame, *inputs_of_the_predictor(season, DAYS[1:3], encoding, state), encoding)
    assert len(frame) > 100
    assert frame.attrs["groups"] == encoding.groups
    assert (frame[list(encoding.entry_features)].dtypes == np.float32).all()


@pytest.mark.parametrize("state", STATES)
def test_features_as_of_an_instant_are_those_of_a_database_of_this_instant(
    season: Connection, limited: Connection, state: State
) -> None:
    encoding = fitted_encoding(season)

    frame = features(season, Days(DAYS[2], DAYS[2]), encoding, state, INSTANT)

    assert_same_bits(frame, *inputs_of_the_predictor(limited, DAYS[2:3], encoding, state), encoding)
    assert len(frame) > 0
    assert_same_facts(season, INSTANT, limited)


def test_the_facts_are_those_of_the_tables(season: Connection) -> None:
    assert_same_facts(season)


@pytest.fixture
def recorded(postgres: EmbeddedPostgres) -> Iterator[Connection]:
    """Three recorded days, in which cancelled cards are listed again."""
    with own_database(postgres) as url:
        with psycopg.connect(url) as connection:
            for day in RECORDED:
                load(connection, final_documents(day))
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection


@pytest.mark.recorded
def test_recorded_days_have_the_inputs_of_the_predictor(recorded: Connection) -> None:
    assert_same_facts(recorded)
    encoding = fitted_encoding(recorded)

    for state in STATES:
        frame = features(recorded, Days(RECORDED[2], RECORDED[2]), encoding, state)

        assert_same_bits(frame, *inputs_of_the_predictor(recorded, RECORDED[2:], encoding, state), encoding)


def test_without_a_model_the_values_are_raw(url: str) -> None:
    with connect(url) as hr:
        frame = hr.features(day=DAYS[2], model=None, past_starts=True)
        entries = hr.entries(DAYS[2], venue=7)

    assert frame.attrs["groups"]["rating"] == "history"
    entries["age_years"] = [measures.get("age_years", np.nan) for measures in entries.measures]
    both = frame.merge(entries, on=["event_key", "slot"], suffixes=("", "_of_card"))
    assert len(both) > 0
    np.testing.assert_array_equal(both.age_years, both.age_years_of_card)
    assert frame.starts_known.max() > 0
    known = frame.starts_known > 0
    assert (frame.loc[~known, "start_1_lane"] == 0).all()
    assert (frame.loc[known, "start_1_lane"] > 0).all()


class Description(BaseModel):
    """The part of a model's description that features read."""

    encoding: Encoding


def test_a_model_is_named_by_its_version(url: str, season: Connection, tmp_path: Path) -> None:
    def build(version: str, description: Description, tensors: Tensors) -> str:
        return version

    registry = Registry(tmp_path, Description, build)
    encoding = fitted_encoding(season)
    version = registry.save(Description(encoding=encoding), "2026-01-08", tensors_of(1), order())

    assert model_encoding(tmp_path, version[-6:]) == ModelEncoding(version, encoding)
    with connect(url) as hr:
        frame = hr.features(day=DAYS[1], model=version, models_dir=tmp_path, venue=9, as_of="2026-01-06T09:00+09:00")
        with pytest.raises(BadArgument, match="there is no live model"):
            hr.features(day=DAYS[1], models_dir=tmp_path)
        with pytest.raises(BadArgument, match=f"expected one of {version}"):
            hr.features(day=DAYS[1], models_dir=tmp_path, model="20200101-00000000")
        with pytest.raises(BadArgument, match='state is "card" or "observation"'):
            hr.features(day=DAYS[1], model=None, state="result")
        nothing = hr.features(day="2020-01-01", model=version, models_dir=tmp_path)
    assert frame.attrs["model"] == version
    assert (len(nothing), list(nothing.columns), nothing.dtypes.to_dict()) == (
        0, list(frame.columns), frame.dtypes.to_dict()
    )  # fmt: skip


def test_features_need_no_torch() -> None:
    code = "import headrace.frames.features, sys; sys.exit('torch' in sys.modules or 'lightgbm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
