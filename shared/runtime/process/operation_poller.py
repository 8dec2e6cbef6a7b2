"""Work beside the loop that brings operations of one kind to their end, once a second.

For what a service does of its own (exports, backfills, trial messages): it looks at each open operation, says how far
that is, and whether it is over. Jobs, which a process works off by itself, are runtime/jobs/workers.py.
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
    """How far an operation is: what was done, from 0 to 1, and what it waits for; `ended` says how, once it is over."""

    counts: Mapping[str, Any]
    progress: float = 0.0
    waiting_for: str | None = None
    ended: State | None = None
    error: str | None = None


Look = Callable[[DbConnection, Operation], Standing | None]
"""How an open operation stands; None where another replica knows better. Inside a transaction of its own."""


class Settling:
    """Background work of a service (runtime/run.py)."""

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
                    log.warning(f"{self._kind}s wait for the database", cause=str(error))
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
