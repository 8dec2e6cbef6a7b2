"""One database for a file's tests, each of which finds it without facts and operations: making one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg

from headrace.database.embedded import EmbeddedPostgres


@contextmanager
def database_of(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Its owner's URL."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE headrace STRATEGY wal_log')
        try:
            yield postgres.url_with_password(database=name)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def emptied(url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """An autocommit connection of the owner; what was written is gone afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            yield connection
        finally:
            connection.execute("TRUNCATE facts.sources, ops.operations CASCADE")
