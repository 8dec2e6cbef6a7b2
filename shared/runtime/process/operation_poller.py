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

from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import TransientError
from shared.ops.operations import OPEN_STATES, Operation, State
from shared.ops.tables.operations import finish, list_operations

POLL_INTERVAL_S = 1.0

log = structlog.get_logger(__name__)


class OperationProgress(NamedTuple):
    """The progress of an operation, from 0 to 1, its counts, what it waits for, and its estimated remaining time.
    `final_state` and `error` are set once it is over."""

    counts: Mapping[str, Any]
    progress: float = 0.0
    waiting_for: str | None = None
    final_state: State | None = None
    error: str | None = None
    left_s: float | None = None
    is_paused: bool = False


ReadProgress = Callable[[DbConnection, Operation], OperationProgress | None]
"""Determines the progress of an open operation; None if another replica has to report it. Each call runs inside a
transaction of its own."""


class OperationPoller:
    """A background task of a service (exit_codes.Background)."""

    def __init__(self, conninfo: str, service: str, kind: str, read_progress: ReadProgress) -> None:
        self._link = ReconnectingConnection(conninfo, f"{service} {kind}s", autocommit=True)
        self._service = service
        self._kind = kind
        self._read_progress = read_progress

    def __call__(self, stop: threading.Event) -> None:
        away = False
        while not stop.wait(POLL_INTERVAL_S):
            try:
                self.poll()
                away = False
            except TransientError as error:
                if not away:
                    log.warning("operation_poll_failed", kind=self._kind, cause=str(error))
                away = True
        self.close()

    def poll(self) -> None:
        with self._link.use() as connection:
            for operation in list_operations(connection, self._service, kinds=[self._kind], states=sorted(OPEN_STATES)):
                with connection.transaction():
                    self._update(connection, operation)

    def close(self) -> None:
        self._link.drop()

    def _update(self, connection: DbConnection, operation: Operation) -> None:
        progress = self._read_progress(connection, operation)
        if progress is None:
            return
        if progress.final_state is None:
            _store_progress(connection, operation.id, progress)
        else:
            finish(connection, operation.id, progress.final_state, progress.error, progress.counts)


def _store_progress(connection: DbConnection, operation_id: str, progress: OperationProgress) -> None:
    connection.execute(
        "UPDATE ops.operations SET state = %(state)s, progress = %(progress)s, counts = %(counts)s,"
        " waiting_for = %(waiting_for)s, left_s = %(left_s)s, started_at = coalesce(started_at, clock_timestamp()),"
        " updated_at = clock_timestamp() WHERE id = %(id)s AND finished_at IS NULL AND (state, progress, counts,"
        " waiting_for) IS DISTINCT FROM (%(state)s, %(progress)s, %(counts)s, %(waiting_for)s)",
        {
            "id": operation_id,
            **progress._asdict(),
            "counts": Jsonb(dict(progress.counts)),
            "state": "paused" if progress.is_paused else "running",
        },
    )
