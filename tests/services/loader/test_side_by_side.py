"""Loaders that run in parallel, each with its own partitions, share sources, venues, sessions, entities and days."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from services.loader.load import Loader
from shared.database.connection import ReconnectingConnection
from shared.events import Entry
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import StillClock, entry, listed, observed, received, settled
from tests.services.loader.views import tables

EVENTS = range(1, 13)
VENUES = range(1, 5)


def line_up(number: int) -> tuple[Entry, ...]:
    """Every card adds a category to the entities that it shares with other cards."""
    return tuple(entry(slot, 100 + (slot + number) % 9, categories_of={f"c{number}": 1}) for slot in range(1, 5))


def batches(partition: int) -> list[list[Any]]:
    """Events of all venues. Each batch shares sessions and entities with the other partition's, in another order."""
    batches_of_partition = []
    for number in EVENTS:
        if number % 2 != partition:
            continue
        venues = VENUES if partition else reversed(VENUES)
        facts = [
            fact
            for venue in venues
            for fact in (
                settled(number, venue=venue),
                listed(
                    number, venue=venue, entries=tuple(entry(slot, 100 + (slot * number) % 9) for slot in range(1, 5))
                ),
                observed(number, venue=venue),
            )
        ]
        batches_of_partition.append([received(fact, partition=partition) for fact in facts])
    return batches_of_partition


@pytest.mark.parametrize("separate", [False, True], ids=["in one transaction", "shared rows in their own transaction"])
def test_two_loaders_write_the_same_tables_as_one(
    separate: bool, database_url: str, connection: psycopg.Connection[Any], database: psycopg.Connection[Any]
) -> None:
    single = Loader(StillClock(), Metrics())
    for batch in (*batches(0), *batches(1)):
        single.handle(batch, connection)
    expected = tables(connection)

    start, errors = threading.Barrier(2), []

    def load(partition: int) -> None:
        link = ReconnectingConnection(
            make_conninfo(database_url, options="-c lock_timeout=60s"), "shared", autocommit=True
        )
        loader = Loader(StillClock(), Metrics(), str(partition), link if separate else None)
        try:
            with psycopg.connect(database_url) as own:
                own.execute("SET timezone = 'UTC'")
                own.execute("SET deadlock_timeout = '100ms'")
                for batch in batches(partition):
                    start.wait(timeout=60)
                    loader.handle(batch, own)
                    own.commit()
        except BaseException as error:  # noqa: BLE001  # reported by the assertion below
            errors.append(error)
            start.abort()
        finally:
            link.drop()

    threads = [threading.Thread(target=load, args=(partition,)) for partition in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    database.execute("SET timezone = 'UTC'")
    assert tables(database) == expected
