"""The state of each day's export in the database, and the rows of days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple

from psycopg import sql

from services.loader.exports.tables import QUERIES, TABLES
from shared.database.connection import DbConnection

# First half of the advisory lock key; the second is the date. Concurrent exporters never write the same day.
LOCK_NAMESPACE = int.from_bytes(b"csv", "big")

_COPY = "COPY ({}) TO STDOUT WITH (FORMAT csv, HEADER)"
_OUTDATED_DAYS = """
SELECT d.date, sum(d.touched)::bigint, NOT EXISTS (
    SELECT FROM facts.sessions s JOIN facts.events e ON e.session_id = s.id
    WHERE s.date = d.date AND e.status NOT IN ('settled', 'void', 'cancelled'))
FROM facts.export_days d GROUP BY d.date HAVING bool_or(d.touched > d.exported) ORDER BY d.date
"""
_COLUMN_TYPES = """
SELECT c.relname, a.attname, t.typname
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relnamespace = 'analytics'::regnamespace AND c.relname = ANY(%s) AND a.attnum > 0 ORDER BY a.attnum
"""


class OutdatedDay(NamedTuple):
    """A day with rows newer than its files. `touched` counts its changes; `ended`: all its events have ended."""

    date: date
    touched: int
    ended: bool


class SourceDay(NamedTuple):
    """One source's rows of a day: how many changes there were (`touched`), and how many the files include."""

    id: int
    touched: int
    exported: int
    name: str


def outdated_days(connection: DbConnection) -> list[OutdatedDay]:
    return [OutdatedDay(*row) for row in connection.execute(_OUTDATED_DAYS)]


def outdated_sources(connection: DbConnection, day: OutdatedDay) -> list[SourceDay]:
    """The sources of the day; empty if the day has changed again or another exporter has written it already."""
    rows = connection.execute(
        "SELECT d.source_id, d.touched, d.exported, s.name FROM facts.export_days d"
        " JOIN facts.sources s ON s.id = d.source_id WHERE d.date = %s ORDER BY s.name",
        (day.date,),
    ).fetchall()
    sources = [SourceDay(*row) for row in rows]
    moved = sum(source.touched for source in sources) != day.touched
    return [] if moved or all(source.touched <= source.exported for source in sources) else sources


def mark_exported(connection: DbConnection, day: date, sources: Sequence[SourceDay]) -> None:
    connection.execute(
        "UPDATE facts.export_days d SET exported = greatest(d.exported, w.touched)"
        " FROM unnest(%s::int[], %s::bigint[]) AS w(source_id, touched)"
        " WHERE d.source_id = w.source_id AND d.date = %s",
        ([source.id for source in sources], [source.touched for source in sources], day),
    )


@contextmanager
def lock_day(connection: DbConnection, day: date) -> Iterator[bool]:
    """Try to lock the day until the block ends; yields False if another exporter holds the lock."""
    key = (LOCK_NAMESPACE, day.toordinal())
    is_locked = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone() == (True,)
    try:
        yield is_locked
    finally:
        if is_locked and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def csv_lines(connection: DbConnection, table: str, days: Sequence[date]) -> Iterator[tuple[str, bytes]]:
    """The day (YYYY-MM-DD) and the CSV line of each row of a table; first the header, whose day is empty.

    COPY returns one row at a time.
    """
    select = sql.SQL(QUERIES[table]).format(days=sql.Literal(list(days)))
    with connection.cursor() as cursor, cursor.copy(sql.SQL(_COPY).format(select)) as copy:
        rows = iter(copy)
        yield "", bytes(next(rows)).split(b",", 1)[1]
        for row in rows:
            day, _, line = bytes(row).partition(b",")
            yield day.decode(), line


def column_types(connection: DbConnection) -> dict[str, dict[str, str]]:
    """The PostgreSQL type (`pg_type.typname`) of each column, by table and column in order."""
    types: dict[str, dict[str, str]] = {table: {} for table in TABLES}
    for table, column, type_name in connection.execute(_COLUMN_TYPES, (list(TABLES),)):
        types[table][column] = type_name
    return types
