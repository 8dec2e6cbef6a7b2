"""Reads the analytics views as plain values, for comparisons."""

from __future__ import annotations

from typing import Any

import psycopg

Connection = psycopg.Connection[Any]
Tables = dict[str, list[str]]


def tables(connection: Connection, *, without: tuple[str, ...] = ("versions",)) -> Tables:
    """Every row of the analytics views, as text, in a fixed order.

    Without `versions` by default: it has the order of arrival, on which the other views do not depend.
    """
    names = [
        name
        for (name,) in connection.execute(
            "SELECT table_name FROM information_schema.views WHERE table_schema = 'analytics' ORDER BY 1"
        )
    ]
    return {
        name: [text for (text,) in connection.execute(f'SELECT v::text FROM analytics."{name}" v ORDER BY 1')]
        for name in names
        if name not in without
    }


def ask(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()
