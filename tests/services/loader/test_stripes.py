"""Two writers of the same event take turns; writers of events that share no stripe do not meet."""

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


def day_apart(number: int) -> date:
    """A day on which the event of this number lies in another stripe."""
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


def test_an_event_that_somebody_writes_has_to_be_waited_for(live: Connection, replaying: Connection) -> None:
    loader().handle([received(listed(1), revision="000000000017")], replaying)

    with pytest.raises(LockNotAvailable):
        loader().handle([received(listed(1))], live)


def test_events_of_other_stripes_are_not_waited_for(live: Connection, replaying: Connection) -> None:
    # What events share is there already, else they would meet in it; and of a day's row the last one waits, as always.
    other = day_apart(1)
    loader().handle([received(listed(1)), received(listed(1, day=other))], live)
    live.commit()
    loader().handle([received(settled(1), revision="000000000017")], replaying)

    loader().handle([received(listed(1, day=other, title="final"))], live)

    assert ask(live, "SELECT count(*) FROM analytics.events WHERE title = 'final'") == [(1,)]


def test_who_waited_folds_what_the_other_wrote(
    live: Connection, replaying: Connection, connection: Connection, database: Connection
) -> None:
    """Each has read an event without the other's version of it before there were stripes: one of them was lost."""
    one, other = received(listed(1, title="heat")), received(listed(1, known=-200, title="final"))
    for fact in (one, other):
        loader().handle([fact], connection)
    live.execute("SET lock_timeout = 0")
    loader().handle([one], replaying)

    waiting = threading.Thread(target=loader().handle, args=([other], live))
    waiting.start()
    lock = f"SELECT 1 FROM pg_locks WHERE pid = {live.info.backend_pid} AND locktype = 'advisory' AND NOT granted"
    wait_until(lambda: ask(database, lock))
    replaying.commit()
    waiting.join(DEADLINE_S)
    live.commit()

    assert ask(database, "SELECT title FROM analytics.events") == [("final",)]
    assert tables(database) == tables(connection)
