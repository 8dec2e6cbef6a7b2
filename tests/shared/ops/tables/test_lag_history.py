"""The history of lags in a real database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from shared.ops.tables.lag_history import KEPT, TopicLag, store
from tests.services.loader.conftest import roles

__all__ = ["roles"]
Database = psycopg.Connection[tuple[Any, ...]]
AT = datetime(2026, 1, 31, 12, 0, 59, tzinfo=UTC)
MINUTE = AT.replace(second=0)
LAGS = [TopicLag("clean-events", 7, 1.5, 40), TopicLag("predictions", 0, None, 3)]


def rows(database: Database) -> list[tuple[Any, ...]]:
    columns = "at, service, topic, records, seconds, position"
    return database.execute(f"SELECT {columns} FROM ops.lag_history ORDER BY 1, 2, 3".encode()).fetchall()


def test_the_first_replica_of_a_minute_stores_the_lag(database: Database) -> None:
    store(database, "loader", AT, LAGS)
    store(database, "loader", MINUTE, [TopicLag("clean-events", 9, 2.5, 41)])
    store(database, "cleaner", AT, [TopicLag("raw-events", 1, 0.5, 2)])

    assert rows(database) == [
        (MINUTE, "cleaner", "raw-events", 1, 0.5, 2),
        (MINUTE, "loader", "clean-events", 7, 1.5, 40),
        (MINUTE, "loader", "predictions", 0, None, 3),
    ]


def test_old_rows_are_deleted(database: Database) -> None:
    store(database, "loader", AT, LAGS)
    store(database, "loader", AT + KEPT, LAGS[:1])
    assert len(rows(database)) == 3
    store(database, "loader", AT + KEPT + timedelta(minutes=1), LAGS[:1])

    assert [row[0] for row in rows(database)] == [MINUTE + KEPT, MINUTE + KEPT + timedelta(minutes=1)]


def test_a_service_writes_it_and_the_reader_reads_it(database_url: str, roles: Callable[[str], dict[str, str]]) -> None:
    urls = roles(database_url)
    with psycopg.connect(urls["headrace_loader"], autocommit=True) as connection:
        store(connection, "loader", AT, LAGS)
    with psycopg.connect(urls["headrace_reader"], autocommit=True) as connection:
        assert len(rows(connection)) == 2
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM ops.lag_history")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM ops.replicas")
