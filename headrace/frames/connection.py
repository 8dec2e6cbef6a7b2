"""Reads from PostgreSQL through ADBC as the reader. Starts nothing and writes nothing.

Each query runs in its own `REPEATABLE READ READ ONLY` transaction. Its first statement reads the clock: this takes the
snapshot, after which PostgreSQL refuses to make the transaction writable, also to a superuser. ADBC prepares a
statement before it reads, and only one statement can be prepared.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
from adbc_driver_manager import Error
from adbc_driver_postgresql import dbapi
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from headrace.database.access import NOT_PREPARED
from headrace.database.embedded import READER, EmbeddedPostgres
from headrace.frames.catalogue import VIEWS
from headrace.frames.errors import (
    BadArgument,
    BadStatement,
    DatabaseUnavailable,
    EmbeddedServerNotRunning,
    FramesError,
    NoDatabase,
    QueryTimeout,
    UnknownColumn,
    UnknownView,
    suggestion,
)
from headrace.terminal.arguments import settings_of
from shared.errors import ConfigError
from shared.settings.sections import DatabaseSettings
from shared.settings.values import read_secret

APPLICATION = "headrace frames"
CONNECT_TIMEOUT_S = 10
Shape = Callable[[pa.RecordBatch], pa.RecordBatch]


class Snapshot(NamedTuple):
    """Rows, and the time of the database's clock at which they were current."""

    table: pa.Table
    as_of: dt.datetime


class ReaderConnection:
    """One connection, opened at the first query and again after it was lost. Not for several threads at a time.

    `data_dir`: of the embedded server, for the text of errors; None for a database given by URL.
    """

    def __init__(self, conninfo: Callable[[], str], timeout_s: float, data_dir: Path | None) -> None:
        self._conninfo = conninfo
        self._timeout_s = timeout_s
        self._data_dir = data_dir
        self._connection: dbapi.Connection | None = None

    def opener(self) -> Callable[[], ReaderConnection]:
        """Makes further connections to the same database, without a reference to this one."""
        return partial(ReaderConnection, self._conninfo, self._timeout_s, self._data_dir)

    @property
    def data_dir(self) -> Path | None:
        return self._data_dir

    def read(self, statement: str, shape: Shape | None = None) -> Snapshot:
        """The rows of one query. `shape` changes each batch as it arrives, e.g. to one that needs less memory.

        Raises BadStatement, UnknownView, UnknownColumn, QueryTimeout, DatabaseUnavailable.
        """
        if not statement.strip():
            raise BadStatement("the statement is empty: expected a SELECT")
        with self._transaction() as cursor:
            as_of = _value(cursor, "SELECT now()")
            _value(cursor, f"SELECT set_config('statement_timeout', '{max(1, round(self._timeout_s * 1000))}', true)")
            # A statement without columns is no query: it must not be executed, e.g. COMMIT.
            schema = cursor.adbc_execute_schema(statement)
            if not schema.names:
                raise BadStatement("the statement gives no rows: expected a SELECT")
            # In the COPY around it, the statement is followed by a parenthesis: a comment at its end must not hide it.
            cursor.execute(f"{statement.strip().rstrip(';')}\n")
            batches = [batch if shape is None else shape(batch) for batch in _batches(cursor)]
            table = pa.Table.from_batches(batches) if batches else _empty_table(schema, shape)
        return Snapshot(table, as_of)

    def open(self) -> None:
        """Connect now, to report a problem at once. Raises DatabaseUnavailable, NoDatabase."""
        with self._transaction() as cursor:
            if not _value(cursor, "SELECT count(*) FROM pg_namespace WHERE nspname = 'analytics'"):
                raise NoDatabase(NOT_PREPARED)

    def conninfo(self) -> str:
        """The connection string, which contains the password: do not log it."""
        return self._conninfo()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[dbapi.Cursor]:
        """A read-only transaction that is rolled back at the end. A failed connection is dropped."""
        try:
            if self._connection is None:
                self._connection = _connect(self._conninfo(), self._data_dir)
            with self._connection.cursor() as cursor:
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield cursor
        except Error as error:
            raise _error_of(error, self._timeout_s, self._data_dir) from None
        finally:
            self._roll_back()

    def _roll_back(self) -> None:
        try:
            if self._connection is not None:
                with self._connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")
        except Error:
            self.close()


def connection_of(
    database: str | None, data_dir: Path | str | None, password_file: Path | str | None, timeout_s: float
) -> ReaderConnection:
    """The database of a URL, or that of settings and environment as the command finds it. Opens nothing yet.

    Raises BadArgument, NoDatabase, EmbeddedServerNotRunning.
    """
    if timeout_s <= 0:
        raise BadArgument(f"timeout_s: expected more than 0 seconds, got {timeout_s}")
    if database is not None and data_dir is not None:
        raise BadArgument("database and data_dir exclude each other: data_dir names the embedded database")
    if database is not None:
        _require_url(database)
        secret = None if password_file is None else Path(password_file)
        return ReaderConnection(lambda: _external_conninfo(database, secret), timeout_s, None)
    try:
        settings = settings_of(None if data_dir is None else Path(data_dir), None, None)
    except ConfigError as error:
        raise BadArgument(str(error)) from None
    if data_dir is None and settings.database is not None:
        external: DatabaseSettings = settings.database
        return ReaderConnection(lambda: external.conninfo(APPLICATION), timeout_s, None)
    server = EmbeddedPostgres(settings.data_dir)
    _require_running(server)
    return ReaderConnection(lambda: _embedded_conninfo(server), timeout_s, settings.data_dir)


def _require_url(database: str) -> None:
    if urlsplit(database).scheme not in {"postgresql", "postgres"}:
        raise BadArgument(
            f"database: expected postgresql://USER@HOST:PORT/DATABASE, got {_without_password(database)!r};"
            " a directory is data_dir="
        )


def _external_conninfo(database: str, password_file: Path | None) -> str:
    try:
        secret = {} if password_file is None else {"password": read_secret(password_file)}
        return make_conninfo(database, application_name=APPLICATION, **secret)
    except (ProgrammingError, ValueError, OSError) as error:
        raise BadArgument(f"database {_without_password(database)!r}: {_line(str(error))}") from None


def _embedded_conninfo(server: EmbeddedPostgres) -> str:
    _require_running(server)
    secret = server.password_file(READER).read_text().strip()
    return make_conninfo(server.url(READER), application_name=APPLICATION, password=secret)


def _require_running(server: EmbeddedPostgres) -> None:
    if not server.data_dir.is_dir():
        raise NoDatabase(
            f"there is no data directory {server.data_dir}: `headrace run --data-dir {server.data_dir}` makes one;"
            " connect(data_dir=...) names another, connect(\"postgresql://...\") an external database"
        )  # fmt: skip
    if not server.exists():
        raise NoDatabase(
            f"there is no database in {server.data_dir} yet; `headrace run --data-dir {server.data_dir}` makes one"
        )
    if not server.accepts_connections():
        raise _not_running(server.data_dir)
    if not server.password_file(READER).exists():
        raise NoDatabase(NOT_PREPARED)


def _not_running(data_dir: Path) -> EmbeddedServerNotRunning:
    return EmbeddedServerNotRunning(
        f"the database server of {data_dir} is not running, and connect() starts none:"
        f" start `headrace run --data-dir {data_dir}` in another terminal"
    )


def _connect(conninfo: str, data_dir: Path | None) -> dbapi.Connection:
    """As the reader if the login may become it, with the settings on which the SQL of query.py depends."""
    given = conninfo_to_dict(conninfo)
    wait = {} if "connect_timeout" in given else {"connect_timeout": CONNECT_TIMEOUT_S}
    try:
        connection = dbapi.connect(make_conninfo(conninfo, **wait), autocommit=True)
    except Error as error:
        if data_dir is not None:
            raise _not_running(data_dir) from None
        raise DatabaseUnavailable(_unreachable(given, error)) from None
    with connection.cursor() as cursor:
        role = f"SELECT count(*) FROM pg_roles WHERE rolname = '{READER}' AND pg_has_role(oid, 'MEMBER')"
        if _value(cursor, role):
            cursor.execute(f'SET ROLE "{READER}"')
        for setting in (
            "default_transaction_read_only = on",
            "search_path = analytics",
            "standard_conforming_strings = on",
            "timezone = 'UTC'",
        ):
            cursor.execute(f"SET {setting}")
    return connection


def _unreachable(given: Mapping[str, object], error: Error) -> str:
    where = f"{given.get('host') or os.environ.get('PGHOST', 'localhost')}:{given.get('port') or 5432}"
    return (
        f"cannot connect to the database {given.get('dbname') or ''} at {where} as {given.get('user') or 'this user'}:"
        f" {_reason(error)}. Check the URL, and the password: password_file=, PGPASSWORD or ~/.pgpass"
    )


def _value(cursor: dbapi.Cursor, query: str) -> Any:
    """The only value of a query."""
    cursor.execute(query)
    ((value,),) = cursor.fetchall()
    return value


def _batches(cursor: dbapi.Cursor) -> Iterator[pa.RecordBatch]:
    """The result as it arrives.

    cursor.fetch_record_batch() gives a reader whose errors lack PostgreSQL's report (apache/arrow-adbc#1523); the one
    inside has it.
    """
    reader = cursor._results.reader
    while True:
        try:
            yield reader.read_next_batch()
        except StopIteration:
            return


def _empty_table(schema: pa.Schema, shape: Shape | None) -> pa.Table:
    empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
    return pa.Table.from_batches([empty if shape is None else shape(empty)])


_LOST = {None, "57P01", "57P02", "57P03", "08000", "08003", "08006"}
_REFUSED = {
    "42501": "frames only read the views of the schema analytics",
    "25001": "frames only read",
    "25006": "frames only read",
}


def _error_of(error: Error, timeout_s: float, data_dir: Path | None) -> FramesError:
    """The error of a statement, with the name that was probably meant."""
    reason, state = _reason(error), error.sqlstate
    if state in _LOST:
        lost = "" if data_dir is None else f"; {_not_running(data_dir)}"
        kind = DatabaseUnavailable if data_dir is None else EmbeddedServerNotRunning
        return kind(f"the connection to the database was lost ({reason}){lost}")
    if state == "57014":
        return QueryTimeout(
            f"the query took longer than {timeout_s:g} s: ask for fewer days or columns,"
            " or connect(timeout_s=...) with more"
        )
    if state == "42P01":
        return UnknownView(f"{reason}{_meant(reason, VIEWS)}")
    if state == "42703":
        hint = _diagnostic(error, "PG_DIAG_MESSAGE_HINT")
        columns = sorted({name for view in VIEWS.values() for name in view.names})
        return UnknownColumn(f"{reason}{f' ({hint})' if hint else _meant(reason, columns)}")
    return _bad_statement(reason, state)


def _bad_statement(reason: str, state: str | None) -> BadStatement:
    if "multiple commands" in reason:
        return BadStatement("expected one statement at a time")
    return BadStatement(f"{reason}: {_REFUSED[state]}" if state in _REFUSED else reason)


def _reason(error: Error) -> str:
    return _diagnostic(error, "PG_DIAG_MESSAGE_PRIMARY") or _line(str(error))


def _diagnostic(error: Error, name: str) -> str:
    """A field of PostgreSQL's report; empty if there is none."""
    for key, value in error.details or ():
        if (key.decode() if isinstance(key, bytes) else key) == name:
            return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return ""


def _meant(reason: str, candidates: Iterable[str]) -> str:
    name = re.search(r'"([^"]+)"', reason) or re.search(r"column (\S+)", reason)
    return suggestion(name[1].split(".")[-1], candidates) if name else ""


def _line(text: str) -> str:
    """The first line that says something, without the driver's prefix."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"^[A-Z_]+: (\[libpq\] )?", "", lines[0]) if lines else "no reason given"


def _without_password(url: str) -> str:
    return re.sub(r"(//[^/@:]*):[^@/]*@", r"\1@", url)
