"""A real log, and a table for handlers that write rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from shared.broker.postgres.broker import PostgresBroker
from tests.shared.runtime.loop_harness import open_broker


@pytest.fixture
def broker(url: str) -> Iterator[PostgresBroker]:
    broker = open_broker(url)
    yield broker
    broker.close()


@pytest.fixture
def rows(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to a database with a table that handlers may fill."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE rows (number integer PRIMARY KEY CHECK (number <> 3), note text)")
        connection.execute("CREATE INDEX ON rows (note)")
        yield connection
        connection.execute("DROP TABLE rows")
