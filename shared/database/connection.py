"""A connection that comes back: opened when first needed, dropped when it broke or fell silent, opened again."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from shared.errors import TransientError

# A server that is starting answers within this; longer waits are the caller's to decide.
CONNECT_TIMEOUT_S = 5
# A server that is gone without a word (no reply, no reset) is noticed within about ten seconds; TCP's own default is
# hours. Unix sockets have no such trouble and ignore these. Where something in between keeps the line open and passes
# nothing on, TCP is content: then Patience.answer_s holds.
_TCP = {"keepalives_idle": 4, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
# How often a wait looks up, for Ctrl-C.
CHECK_S = 0.1

DbConnection = psycopg.Connection[Any]

RV = TypeVar("RV")


@dataclass(frozen=True)
class Patience:
    """How long the embedded broker waits for whom."""

    # A stopped owner is replaced after this long; long enough for a pause of the machine, short enough for people.
    lease_s: float = 10.0
    # Several renewals fit into one lease, so that a single slow one loses nothing.
    renew_s: float = 1.0
    # A process that was stopped inside a unit holds its locks; the server ends such a session after this long. Much
    # longer than any handler works on a batch, shorter than anybody wants to wait.
    stopped_unit_s: float = 15.0
    # One statement is answered within this, waiting for locks included; else the line is taken for dead.
    answer_s: float = 15.0


PATIENCE = Patience()


class ImpatientConnection(psycopg.Connection[Any]):
    """Takes a line that does not answer for a broken one: it is closed, and the statement an OperationalError.

    Neither libpq nor the server can limit this wait (`statement_timeout` has to pass over the same line). A wait that
    has a limit of its own, which is that for a NOTIFY, is left alone.
    """

    answer_s: float = PATIENCE.answer_s

    def wait(self, gen: PQGen[RV], interval: float = CHECK_S, timeout: float | None = None) -> RV:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        deadline = time.monotonic() + self.answer_s
        try:
            return super().wait(gen, interval, self.answer_s)
        except psycopg.OperationalError:
            if time.monotonic() < deadline:
                raise
            self.close()
            raise psycopg.OperationalError(f"no answer within {self.answer_s:g} s") from None


class Link:
    """One connection to one database, for one thread."""

    def __init__(
        self,
        conninfo: str,
        name: str,
        *,
        autocommit: bool,
        settings: Mapping[str, str] | None = None,
        answer_s: float = PATIENCE.answer_s,
    ) -> None:
        self._conninfo = conninfo
        self._name = name
        self._autocommit = autocommit
        self._answer_s = answer_s
        # Said again on every new connection: a setting of the one that broke is gone with it.
        self._settings = {"timezone": "UTC", **(settings or {})}
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
        """One that broke while nobody used it is replaced here: each would cost a failure and a wait otherwise."""
        if self._connection is not None and _broke_while_idle(self._connection):
            self.drop()
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
            for name, value in self._settings.items():
                self._connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            if not self._autocommit:
                self._connection.commit()
        return self._connection

    def _connect(self) -> ImpatientConnection:
        connection = ImpatientConnection.connect(
            make_conninfo(self._conninfo, **_TCP),
            autocommit=self._autocommit,
            application_name=f"headrace {self._name}",
            connect_timeout=CONNECT_TIMEOUT_S,
            prepare_threshold=2,
        )
        connection.answer_s = self._answer_s
        return connection

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _broke_while_idle(connection: DbConnection) -> bool:
    """Whether the server has hung up, or said goodbye: the first byte that waits is none, or an error's. Only looked
    at: it may be a NOTIFY. (Encrypted, a goodbye cannot be told from one.)"""
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
    """An error's first line: what libpq adds after it names hosts and hints, not causes."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def rows(connection: psycopg.Connection[Any], query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """All rows of a query, values in binary: batches are bytes, and text would double them."""
    with connection.cursor(binary=True) as cursor:
        return cursor.execute(query, parameters).fetchall()
