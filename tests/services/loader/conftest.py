"""Fixtures of the loader's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from headrace.database.embedded import EmbeddedPostgres
from services.loader.load import Loader
from shared.broker.contract import NewRecord
from shared.events import LoadedEvent
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import StillClock, received

Load = Callable[..., list[LoadedEvent]]


@contextmanager
def own_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Creates a database for the duration of the block and yields its URL for the owner."""
    name = f"loader_{uuid4().hex}"
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as owner:
        owner.execute(f'CREATE DATABASE "{name}" TEMPLATE headrace STRATEGY wal_log')
        try:
            yield postgres.url_with_password(database=name)
        finally:
            owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database in which nothing is committed. Tests share it, because creating one is slow."""
    with own_database(postgres) as url:
        yield url


@pytest.fixture
def connection(empty_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The owner's connection, in a transaction that is rolled back."""
    with psycopg.connect(empty_url) as owner:
        owner.execute("SET timezone = 'UTC'")
        yield owner
        owner.rollback()


@pytest.fixture
def roles(postgres: EmbeddedPostgres) -> Callable[[str], dict[str, str]]:
    """Returns the URLs of a database for the roles of the loader and of readers, each with its own password."""

    def urls_of(url: str) -> dict[str, str]:
        names = ("headrace_loader", "headrace_reader")
        postgres.set_passwords(names)
        return {name: postgres.url_with_password(name, str(conninfo_to_dict(url)["dbname"])) for name in names}

    return urls_of


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def loader(metrics: Metrics) -> Loader:
    return Loader(StillClock(), metrics)


@pytest.fixture
def load(loader: Loader, connection: psycopg.Connection[Any]) -> Load:
    """Loads facts as one batch and returns its loaded-events."""

    def load_batch(*facts: Any) -> list[LoadedEvent]:
        return loaded_events_of(loader.handle([received(fact) for fact in facts], connection))

    return load_batch


def loaded_events_of(outputs: Sequence[NewRecord]) -> list[LoadedEvent]:
    return [LoadedEvent.model_validate_json(output.value) for output in outputs]
