"""A database connection that opens on first use and reconnects after it has broken or stopped answering."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import capabilities
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from shared.database.sqlstates import AnswerTimeout, is_trouble
from shared.errors import TransientError
from shared.settings.login import LoginConninfo

# A starting server answers within this time. Callers decide about longer waits.
CONNECT_TIMEOUT_S = 5
# A server that disappears without a reset is noticed within about ten seconds; TCP's default is hours. Unix sockets
# ignore these options. If a proxy keeps the connection open and forwards nothing, TCP notices nothing:
# Timeouts.answer_s covers that case.
_TCP = {"keepalives_idle": 4, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
# How often a wait checks for Ctrl-C.
CHECK_S = 0.1
# The limit for the request to cancel a statement, which takes a connection of its own.
CANCEL_S = 2.0
# How often the server checks, while it executes a statement, whether the client is still there. If not, it cancels the
# statement, whose locks would otherwise delay the next attempt. Not available on every system of a server.
_CHECK_CLIENT = "SELECT set_config(name, '2s', false) FROM pg_settings WHERE name = 'client_connection_check_interval'"

DbConnection = psycopg.Connection[Any]

RV = TypeVar("RV")


@dataclass(frozen=True)
class Timeouts:
    """Timeouts of database connections and of the embedded broker, in seconds."""

    # A member that stops renewing loses its partitions after this time. Long enough to survive a short stall of the
    # machine, short enough that a replacement takes over soon.
    lease_s: float = 10.0
    # Several renewals fit into one lease, so that a single slow one does not lose it.
    renew_s: float = 1.0
    # A process that is stopped inside a unit holds its locks. The server ends its session after this time, which is
    # much longer than any handler computes between two statements.
    stopped_unit_s: float = 15.0
    # Maximum duration of one statement, including waits for locks. After it the connection counts as broken.
    answer_s: float = 15.0
    # Maximum duration of one unit, from its first statement to its commit. Less than the limit of the watchdog, which
    # would end the process.
    unit_s: float = 45.0


TIMEOUTS = Timeouts()


class TimeoutConnection(psycopg.Connection[Any]):
    """A connection that cancels a statement and closes when it is not answered within `answer_s`, or when `deadline_s`
    (monotonic) is over, and raises AnswerTimeout.

    Neither libpq nor the server can limit this wait: the error of `statement_timeout` would have to arrive over the
    same connection. A wait with its own timeout, such as one for a NOTIFY, is not limited.
    """

    answer_s: float = TIMEOUTS.answer_s
    deadline_s: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = CHECK_S, timeout: float | None = None) -> RV:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        now_s = time.monotonic()
        limit_s = self.answer_s if self.deadline_s is None else min(self.answer_s, self.deadline_s - now_s)
        try:
            return super().wait(gen, interval, max(0.0, limit_s))
        except psycopg.OperationalError:
            if time.monotonic() < now_s + limit_s:
                raise
            self._give_up()
            if limit_s < self.answer_s:
                raise AnswerTimeout("the batch exceeded its time limit") from None
            raise AnswerTimeout(f"no answer within {self.answer_s:g} s") from None

    def _give_up(self) -> None:
        """Close the connection. The server would continue a statement without a client, so it is cancelled before."""
        # An older libpq has only a request to cancel that may wait without a limit.
        if capabilities.has_cancel_safe():
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL_S)
        self.close()


class ReconnectingConnection:
    """One connection to one database, for one thread."""

    def __init__(
        self,
        conninfo: str,
        name: str,
        *,
        autocommit: bool,
        settings: Mapping[str, str] | None = None,
        answer_s: float = TIMEOUTS.answer_s,
    ) -> None:
        self._conninfo = conninfo
        self._name = name
        self._autocommit = autocommit
        self._answer_s = answer_s
        # Applied to every new connection, because session settings end with their connection.
        self._settings = {"timezone": "UTC", **(settings or {})}
        self._connection: TimeoutConnection | None = None

    @contextmanager
    def use(self, answer_s: float | None = None) -> Iterator[TimeoutConnection]:
        """The open connection. Trouble (sqlstates.py) drops the connection and raises TransientError.

        `answer_s`: the limit of each statement in the block, if it differs from the connection's.
        """
        try:
            connection = self.connection()
            usual_s = connection.answer_s
            connection.answer_s = usual_s if answer_s is None else answer_s
            try:
                yield connection
            finally:
                connection.answer_s = usual_s
        except psycopg.Error as error:
            if not is_trouble(error):
                raise
            self.drop()
            raise TransientError(f"the database is unavailable: {first_line(error)}") from error

    def connection(self) -> TimeoutConnection:
        """The open connection. One that broke while idle is replaced, which avoids a failed statement and a backoff."""
        if self._connection is not None and _is_broken(self._connection):
            self.drop()
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> TimeoutConnection:
        conninfo = self._conninfo.renewed() if isinstance(self._conninfo, LoginConninfo) else self._conninfo
        connection = TimeoutConnection.connect(
            make_conninfo(conninfo, **_TCP),
            autocommit=True,
            application_name=f"headrace {self._name}",
            connect_timeout=CONNECT_TIMEOUT_S,
            prepare_threshold=2,
        )
        connection.answer_s = self._answer_s
        try:
            for name, value in self._settings.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            with suppress(psycopg.DataError):
                connection.execute(_CHECK_CLIENT)
            connection.autocommit = self._autocommit
        except BaseException:
            connection.close()
            raise
        return connection

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def limited_connection(conninfo: str, name: str, answer_s: float) -> ReconnectingConnection:
    """A connection in autocommit mode for short statements. After `answer_s` the server cancels a statement and the
    connection is dropped."""
    limit = {"statement_timeout": f"{answer_s * 1000:.0f}ms"}
    return ReconnectingConnection(conninfo, name, autocommit=True, settings=limit, answer_s=answer_s)


def _is_broken(connection: DbConnection) -> bool:
    """Whether the server has closed the connection or sent an error: the next byte is end-of-file or `E`.

    The byte is only peeked at, because it may belong to a NOTIFY. On an encrypted connection an error cannot be
    distinguished from a NOTIFY.
    """
    if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
        return False
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        try:
            return line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) in {b"", b"E"}
        except BlockingIOError:
            return False
        except OSError:
            return True


def first_line(error: BaseException) -> str:
    """The first line of an error. The further lines of libpq's errors have hosts and hints, not causes."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def query_rows(connection: psycopg.Connection[Any], query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """All rows of a query. Values are transferred in binary, because text would double the size of record batches."""
    with connection.cursor(binary=True) as cursor:
        return cursor.execute(query, parameters).fetchall()
