"""Two writers of the same event wait for each other; writers of events in different stripes do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from shared.topics import partition_of
from tests.services.loader.facts import DAY, StillClock, key, listed, received, settled
from tests.services.loader.views import ask, tables
from tests.waiting import DEADLINE_S, wait_until

STRIPES = 6
Connection = psycopg.Connection[Any]


def day_in_another_stripe(number: int) -> date:
    """A day on which the event with this number is in another stripe."""
    stripe = partition_of(key(number).encode(), STRIPES)
    days = (DAY + timedelta(days=days) for days in range(1, 20))
    return next(day for day in days if partition_of(key(number, day).encode(), STRIPES) != stripe)


@pytest.fixture
def live(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, options="-c lock_timeout=200ms -c timezone=UTC") as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def replaying(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, options="-c timezone=UTC") as connection:
        yield connection
        connection.rollback()


def loader() -> Loader:
    return Loader(StillClock(), Metrics(), stripes=STRIPES)


def test_a_writer_waits_for_another_writer_of_the_same_event(live: Connection, replaying: Connection) -> None:
    loader().handle([received(listed(1), revision="000000000017")], replaying)

    with pytest.raises(LockNotAvailable):
        loader().handle([received(listed(1))], live)


def test_a_writer_does_not_wait_for_writers_of_other_stripes(live: Connection, replaying: Connection) -> None:
    # The rows that both events share exist already, else the writers would wait for each other there. The days differ,
    # because writers of one day wait at its row.
    other = day_in_another_stripe(1)
    loader().handle([received(listed(1)), received(listed(1, day=other))], live)
    live.commit()
    loader().handle([received(settled(1), revision="000000000017")], replaying)

    loader().handle([received(listed(1, day=other, known=-200, title="final"))], live)

    assert ask(live, "SELECT count(*) FROM analytics.events WHERE title = 'final'") == [(1,)]


def test_the_writer_that_waited_folds_the_others_version(
    live: Connection, replaying: Connection, connection: Connection, database: Connection
) -> None:
    """Without stripes, each would read the event without the other's version, and one version would be lost."""
    one, other = received(listed(1, title="heat")), received(listed(1, known=-200, title="final"))
    for fact in (one, other):
        loader().handle([fact], connection)
    live.execute("SET lock_timeout = 0")
    loader().handle([one], replaying)

    waiting_writer = threading.Thread(target=loader().handle, args=([other], live))
    waiting_writer.start()
    waiting_query = (
        f"SELECT 1 FROM pg_locks WHERE pid = {live.info.backend_pid} AND locktype = 'advisory' AND NOT granted"
    )
    wait_until(lambda: ask(database, waiting_query))
    replaying.commit()
    waiting_writer.join(DEADLINE_S)
    live.commit()

    assert ask(database, "SELECT title FROM analytics.events") == [("final",)]
    assert tables(database) == tables(connection)
