"""A connection that comes back: opened when first needed, dropped when it broke, opened again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from shared.broker.contract import DbConnection
from shared.errors import TransientError

# A server that is starting answers within this; longer waits are the caller's to decide.
CONNECT_TIMEOUT_S = 5


class Link:
    """One connection to one database, for one thread."""

    def __init__(self, conninfo: str, name: str, *, autocommit: bool) -> None:
        self._conninfo = conninfo
        self._name = name
        self._autocommit = autocommit
        self._connection: DbConnection | None = None

    @contextmanager
    def use(self) -> Iterator[DbConnection]:
        """The live connection. A database that is away is a TransientError; the broken connection is dropped."""
        try:
            yield self.connection()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.drop()
            raise TransientError(f"the database is away: {first_line(error)}") from error

    def connection(self) -> DbConnection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._conninfo,
                autocommit=self._autocommit,
                application_name=f"headrace {self._name}",
                connect_timeout=CONNECT_TIMEOUT_S,
                prepare_threshold=2,
            )
            self._connection.execute("SET timezone = 'UTC'")
            if not self._autocommit:
                self._connection.commit()
        return self._connection

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def first_line(error: BaseException) -> str:
    """An error's first line: what libpq adds after it names hosts and hints, not causes."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def rows(connection: psycopg.Connection[Any], query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """All rows of a query, values in binary: batches are bytes, and text would double them."""
    with connection.cursor(binary=True) as cursor:
        return cursor.execute(query, parameters).fetchall()
