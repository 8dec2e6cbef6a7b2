"""Recorded days: what was known at an instant equals a database that was loaded up to this instant, in every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.loader.load import Loader
from shared.broker.contract import Record
from shared.records import DecodedRecord, decode
from shared.runtime.metrics import Metrics
from tests.headrace.frames.as_of.reading import assert_equal, frames_as_of, frames_now
from tests.services.loader.conftest import own_database
from tests.services.loader.facts import StillClock
from tests.services.loader.test_recorded_day import clean_batches, final_documents, live_documents

pytestmark = pytest.mark.recorded
Connection = psycopg.Connection[Any]
Batches = Sequence[Sequence[DecodedRecord]]


def batches_of(documents: Any) -> Batches:
    return [[decode(Record(each.topic, 0, 0, 0, *each[1:4])) for each in batch] for batch in clean_batches(documents)]


def load(connection: Connection, batches: Batches, limit: datetime | None = None) -> None:
    loader = Loader(StillClock(), Metrics(), as_of_limit=limit)
    for batch in batches:
        loader.handle(batch, connection)


@pytest.fixture(scope="module")
def live() -> Batches:
    """All versions of one day, in the order of publication."""
    return batches_of(live_documents())


@pytest.fixture(scope="module")
def archived() -> Batches:
    """Three days of an archive: results have no time of their own, and cards are listed again after a cancellation."""
    return [batch for day in (10, 11, 12) for batch in batches_of(final_documents(date(2026, 1, day)))]


@pytest.fixture(scope="module")
def live_database(postgres: EmbeddedPostgres, live: Batches) -> Iterator[Connection]:
    with loaded(postgres, live) as connection:
        yield connection


@pytest.fixture(scope="module")
def archive_database(postgres: EmbeddedPostgres, archived: Batches) -> Iterator[Connection]:
    with loaded(postgres, archived) as connection:
        yield connection


@contextmanager
def loaded(postgres: EmbeddedPostgres, batches: Batches) -> Iterator[Connection]:
    with own_database(postgres) as url, psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        load(connection, batches)
        yield connection


LOSSES = datetime(2026, 1, 30, 19, 2, tzinfo=UTC)
"""Twenty cards are published without their racers."""


@pytest.mark.parametrize(
    "instant", [LOSSES, datetime(2026, 1, 31, 3, tzinfo=UTC), datetime(2026, 1, 31, 7, 54, 21, tzinfo=UTC)]
)
def test_a_day_of_many_versions(
    live_database: Connection, live: Batches, connection: Connection, instant: datetime
) -> None:
    load(connection, live, instant)

    assert_equal(frames_as_of(live_database, instant), frames_now(connection))


def test_a_day_of_many_versions_at_its_end(live_database: Connection) -> None:
    assert_equal(frames_as_of(live_database, datetime(2027, 1, 1, tzinfo=UTC)), frames_now(live_database))


@pytest.mark.parametrize("instant", [datetime(2026, 1, 10, 8, tzinfo=UTC), datetime(2026, 1, 11, 6, tzinfo=UTC)])
def test_days_of_an_archive(
    archive_database: Connection, archived: Batches, connection: Connection, instant: datetime
) -> None:
    load(connection, archived, instant)

    actual, expected = frames_as_of(archive_database, instant), frames_now(connection)

    assert_equal(actual, expected)
    assert set(expected["events"]["status"]) >= {"settled", "listed"}
