"""One database for the tests of a file, emptied after each test: creating one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg

from headrace.database.embedded import EmbeddedPostgres


@contextmanager
def database_of(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Yields the owner's URL of a new database."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE headrace STRATEGY wal_log')
        try:
            yield postgres.url_with_password(database=name)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def emptied(url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Yields an autocommit connection of the owner; removes facts and operations afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            yield connection
        finally:
            connection.execute("TRUNCATE facts.sources, ops.operations CASCADE")
