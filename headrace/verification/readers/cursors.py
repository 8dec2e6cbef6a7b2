"""Reads the rows of a query in portions, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.database.connection import DbConnection

ROWS_AT_A_TIME = 2_000


def stream(connection: DbConnection, name: str, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, by a cursor of the server with this name. The connection must be in a transaction."""
    with connection.cursor(name=name) as cursor:
        cursor.itersize = ROWS_AT_A_TIME
        cursor.execute(query.encode())
        yield from cursor
