"""A database with an empty log. To empty it takes milliseconds; to create one takes several times as long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from headrace.database.embedded import EmbeddedPostgres
from tests.waiting import terminate_backends

_NAME = "empty_log"
_TABLES = (
    "topics", "partitions", "log", "positions", "leases", "members", "slots", "cursors", "checkpoints", "losses",
)  # fmt: skip


@contextmanager
def read_only(admin: psycopg.Connection[Any]) -> Iterator[None]:
    """Every other session of the server is read-only within the block. `admin` is in autocommit mode."""
    admin.execute("SET default_transaction_read_only = off")
    _configure(admin, "SET default_transaction_read_only = on")
    try:
        yield
    finally:
        _configure(admin, "RESET default_transaction_read_only")


def _configure(admin: psycopg.Connection[Any], change: str) -> None:
    admin.execute(f"ALTER SYSTEM {change}")
    admin.execute("SELECT pg_reload_conf()")


@contextmanager
def empty_log(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database with empty broker tables and no other sessions."""
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_NAME,)).fetchone():
            connection.execute(f"CREATE DATABASE {_NAME} TEMPLATE headrace STRATEGY wal_log")
        terminate_backends(connection, "datname = %s", (_NAME,))
    url = postgres.url_with_password(database=_NAME)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(f'broker.{table}' for table in _TABLES)} RESTART IDENTITY")
    yield url
