"""A predictor with a small model, on three settled days and one upcoming day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from services.predictor.data.events import Events, events_of
from services.predictor.serving.predict import Predictor
from services.predictor.storage.postgres_facts import PostgresFacts, read_settled
from shared.database.connection import ReconnectingConnection
from tests.services.predictor.season import Connection, Event, season, store
from tests.services.predictor.serving.loaded_events import DEPENDENCIES
from tests.services.predictor.serving.small_serving_model import InMemoryRegistry, SetClock, SmallModel, model_of


@pytest.fixture
def past() -> list[Event]:
    return season(4, 12, seed=21)[:36]


@pytest.fixture
def upcoming() -> list[Event]:
    """The last day, which has not happened yet; the days before are its history."""
    return [replace(event, order=()) for event in season(4, 12, seed=21)[36:]]


@pytest.fixture
def loaded(database: Connection, past: list[Event], upcoming: list[Event]) -> Connection:
    store(database, [*past, *upcoming])
    return database


@pytest.fixture
def clock(upcoming: list[Event]) -> SetClock:
    return SetClock(upcoming[0].listed_at + timedelta(minutes=1))


@pytest.fixture
def facts(loaded: Connection, shared_url: str) -> Iterator[PostgresFacts]:
    facts = PostgresFacts(ReconnectingConnection(shared_url, "facts", autocommit=True))
    yield facts
    facts.close()


@pytest.fixture
def history(loaded: Connection) -> Events:
    return events_of(read_settled(loaded), 6)


@pytest.fixture
def model(history: Events) -> SmallModel:
    return model_of(history)


@pytest.fixture
def registry(model: SmallModel) -> InMemoryRegistry:
    return InMemoryRegistry(model)


@pytest.fixture
def predictor(facts: PostgresFacts, registry: InMemoryRegistry, clock: SetClock) -> Predictor:
    return Predictor(facts, registry, clock, DEPENDENCIES)
