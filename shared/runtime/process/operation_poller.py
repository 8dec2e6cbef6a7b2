"""Polls the open operations of one kind once a second, and records their progress and their end.

It is a background task for operations that a service carries out elsewhere (exports, backfills, test messages).
Operations that are jobs with workers of their own are handled by runtime/jobs/workers.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog
from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection, Link
from shared.errors import TransientError
from shared.ops.operations import Operation, State
from shared.ops.tables.operations import finish, listing

LOOK_EVERY_S = 1.0

log = structlog.get_logger(__name__)


class Standing(NamedTuple):
    """The progress of an operation, from 0 to 1, its counts, and what it waits for. `final_state` and `error` are set
    once it is over."""

    counts: Mapping[str, Any]
    progress: float = 0.0
    waiting_for: str | None = None
    ended: State | None = None
    error: str | None = None


Look = Callable[[DbConnection, Operation], Standing | None]
"""Determines the progress of an open operation; None if another replica has to report it. Each call runs inside a
transaction of its own."""


class Settling:
    """A background task of a service (exit_codes.Background)."""

    def __init__(self, conninfo: str, service: str, kind: str, look: Look) -> None:
        self._link = Link(conninfo, f"{service} {kind}s", autocommit=True)
        self._service = service
        self._kind = kind
        self._look = look

    def __call__(self, stop: threading.Event) -> None:
        away = False
        while not stop.wait(LOOK_EVERY_S):
            try:
                self.settle()
                away = False
            except TransientError as error:
                if not away:
                    log.warning("operation_poll_failed", kind=self._kind, cause=str(error))
                away = True
        self.close()

    def settle(self) -> None:
        with self._link.use() as connection:
            for operation in listing(connection, self._service, kinds=[self._kind], states=["waiting", "running"]):
                with connection.transaction():
                    self._settle_one(connection, operation)

    def close(self) -> None:
        self._link.drop()

    def _settle_one(self, connection: DbConnection, operation: Operation) -> None:
        standing = self._look(connection, operation)
        if standing is None:
            return
        if standing.ended is None:
            _advance(connection, operation.id, standing)
        else:
            finish(connection, operation.id, standing.ended, standing.error, standing.counts)


def _advance(connection: DbConnection, operation_id: str, standing: Standing) -> None:
    connection.execute(
        "UPDATE ops.operations SET state = 'running', progress = %(progress)s, counts = %(counts)s,"
        " waiting_for = %(waiting_for)s, started_at = coalesce(started_at, clock_timestamp()),"
        " updated_at = clock_timestamp() WHERE id = %(id)s AND finished_at IS NULL AND (state, progress, counts,"
        " waiting_for) IS DISTINCT FROM ('running', %(progress)s, %(counts)s, %(waiting_for)s)",
        {"id": operation_id, **standing._asdict(), "counts": Jsonb(dict(standing.counts))},
    )
