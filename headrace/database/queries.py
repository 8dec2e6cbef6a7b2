"""Runs one read-only statement and yields its rows as they arrive, so that a result of any size fits into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import capabilities, sql
from psycopg.errors import error_from_result
from psycopg.postgres import types
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from headrace.database.access import one_line
from shared.errors import HeadraceError

# Rows that libpq hands over at a time.
CHUNK_ROWS = 1000
READ_ROWS = "analytics.read_rows(text)"
ONLY_READS = " (headrace sql only reads the analytics views)"

ReaderConnection = psycopg.Connection[tuple[Any, ...]]


class BadQuery(HeadraceError):
    """PostgreSQL refused the statement. The message contains its reason and a hint."""


@dataclass(frozen=True)
class QueryRows:
    """The result of a statement. `types`: the PostgreSQL type of each column (`pg_type.typname`).

    `rows` can be read once, and raises BadQuery.
    """

    columns: Sequence[str]
    types: Sequence[str]
    rows: Iterator[tuple[Any, ...]]


def run_query(connection: ReaderConnection, statement: str, timeout_s: float) -> QueryRows:
    """Check a statement and return its columns and rows; it runs when the first row is read. Raises BadQuery."""
    connection.execute("SELECT set_config('statement_timeout', %s, false)", (str(max(1, round(timeout_s * 1000))),))
    description = _describe(connection, statement.encode())
    names = [(description.fname(i) or b"").decode() for i in range(description.nfields)]
    type_names = [_type_name(description.ftype(i)) for i in range(description.nfields)]
    columns = unique_names(names)
    query, values = _as_reader(connection, statement, columns, [description.ftype(i) for i in range(len(names))])
    return QueryRows(columns, type_names, _rows(connection, query, values))


def unique_names(names: Sequence[str]) -> list[str]:
    """Append a number to a repeated name, because a JSON object holds each key once."""
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        unique.append(name if counts[name] == 1 else f"{name}_{counts[name]}")
    return unique


def _describe(connection: ReaderConnection, statement: bytes) -> PGresult:
    """The columns of a statement, which is parsed and not run."""
    for result in (connection.pgconn.prepare(b"", statement), connection.pgconn.describe_prepared(b"")):
        if result.status == ExecStatus.FATAL_ERROR:
            raise _refusal(error_from_result(result, encoding=connection.info.encoding)) from None
    if result.nfields == 0:
        raise BadQuery(f"the statement gives no rows: expected a SELECT{ONLY_READS}")
    return result


def _as_reader(
    connection: ReaderConnection, statement: str, columns: Sequence[str], oids: Sequence[int]
) -> tuple[sql.Composed | bytes, Sequence[str] | None]:
    """The statement, or a call of the function that runs it as the reader.

    Another login that has become the reader could become itself again in the middle of the statement.
    """
    row = connection.execute("SELECT session_user <> current_user, to_regprocedure(%s)::text", (READ_ROWS,)).fetchone()
    if row is None or not row[0]:
        return statement.encode(), None
    if row[1] is None:
        raise BadQuery("the database is of an earlier version: run `headrace migrate`")
    names = connection.execute(
        "SELECT format_type(oid, NULL) FROM unnest(%s::oid[]) WITH ORDINALITY AS given (oid, place) ORDER BY place",
        (list(oids),),
    ).fetchall()
    typed = [
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(name))
        for column, (name,) in zip(columns, names, strict=True)
    ]
    call = sql.SQL("SELECT * FROM analytics.read_rows(%s) AS rows ({})").format(sql.SQL(", ").join(typed))
    return call, [statement]


def _rows(
    connection: ReaderConnection, query: sql.Composed | bytes, values: Sequence[str] | None
) -> Iterator[tuple[Any, ...]]:
    """In a transaction that is rolled back: a notification is not delivered, and a setting ends with it."""
    size = CHUNK_ROWS if capabilities.has_stream_chunked() else 1
    try:
        with connection.transaction(force_rollback=True), connection.cursor() as cursor:
            yield from cursor.stream(query, values, size=size)
    except psycopg.Error as error:
        raise _refusal(error) from None


def _type_name(oid: int) -> str:
    info = types.get(oid)
    if info is None:
        return "text"
    return f"_{info.name}" if info.array_oid == oid else info.name


def _refusal(error: psycopg.Error) -> BadQuery:
    message = error.diag.message_primary or one_line(error)
    if "multiple commands" in message:
        return BadQuery("expected one statement at a time")
    return BadQuery(f"{message}{_hint(error)}")


def _hint(error: psycopg.Error) -> str:
    if error.diag.message_hint:
        return f" ({error.diag.message_hint})"
    if isinstance(error, psycopg.errors.UndefinedTable):
        return " (headrace sql \"select viewname from pg_views where schemaname = 'analytics'\" lists the views)"
    if isinstance(error, psycopg.errors.QueryCanceled):
        return " (--timeout S allows more time)"
    if isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
        return ONLY_READS
    return ""
