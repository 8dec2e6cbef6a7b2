"""A season in a database, and a model trained on it: made once, read by many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from headrace.embedded import EmbeddedPostgres
from services.predictor.registry import Registry
from services.predictor.train_command import train
from tests.services.predictor.season import Event, season, store

DAYS, EVENTS_A_DAY, TRAINED_DAYS = 44, 30, 34


@dataclass(frozen=True)
class Stored:
    """A settled season: its database, its events, those of the last days that no model has seen."""

    url: str = field(repr=False)
    events: list[Event]

    @property
    def unseen(self) -> list[Event]:
        return self.events[TRAINED_DAYS * EVENTS_A_DAY :]

    @property
    def last_trained_day(self) -> str:
        return self.events[TRAINED_DAYS * EVENTS_A_DAY - 1].key.split(":")[1]


@dataclass(frozen=True)
class Schooled:
    """A models directory with one live model, and what its training reported."""

    directory: Path
    report: dict[str, Any]

    @property
    def registry(self) -> Registry:
        return Registry(self.directory)


@pytest.fixture(scope="session")
def stored_season(postgres: EmbeddedPostgres) -> Iterator[Stored]:
    """Read only: tests that write take a `database` of their own."""
    name = f"season_{uuid4().hex}"
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE headrace STRATEGY file_copy')
    url = postgres.url_with_password(database=name)
    events = season(DAYS, EVENTS_A_DAY, seed=3)
    with psycopg.connect(url, autocommit=True) as connection:
        store(connection, events)
        connection.execute("ANALYZE")
    yield Stored(url, events)
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def schooled(stored_season: Stored, tmp_path_factory: pytest.TempPathFactory) -> Schooled:
    directory = tmp_path_factory.mktemp("models")
    until = date.fromisoformat(stored_season.last_trained_day)
    report = train(stored_season.url, directory, seed=5, until=until, log=lambda line: None)
    return Schooled(directory, report)
