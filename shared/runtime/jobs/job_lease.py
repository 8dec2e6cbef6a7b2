"""Lets a worker read the requested state of its job, report its progress, and end or release it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from shared.database.connection import ReconnectingConnection
from shared.ops.operations import Operation, Wanted
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables.operations import get


class JobLease:
    """A job held by a worker, over its own connection. All methods raise TransientError if the database is
    unavailable."""

    def __init__(self, conninfo: str, operation_id: str, worker: str) -> None:
        self.id = operation_id
        self.worker = worker
        self._link = ReconnectingConnection(conninfo, f"job {operation_id}", autocommit=True)

    def operation(self) -> Operation | None:
        """The job's operation; None if it is over or this worker no longer holds it."""
        with self._link.use() as connection:
            current = get(connection, self.id)
        return current if current is not None and current.worker == self.worker and current.is_open else None

    def read_requested_state(self) -> Wanted | None:
        """The requested state; None if the job is over or this worker no longer holds it."""
        with self._link.use() as connection:
            return jobs_table.wanted_of(connection, self.id, self.worker)

    def report_progress(
        self, counts: Mapping[str, Any] | None, progress: float | None, left_s: float | None, waiting_for: str | None
    ) -> Wanted | None:
        """Report the progress; None leaves counts and progress unchanged. Returns the requested state, as
        `read_requested_state` does."""
        with self._link.use() as connection:
            return jobs_table.report_progress(
                connection, self.id, self.worker, counts, progress, left_s=left_s, waiting_for=waiting_for
            )

    def end(
        self, state: Literal["succeeded", "failed"], counts: Mapping[str, Any] | None = None, error: str | None = None
    ) -> None:
        with self._link.use() as connection:
            jobs_table.finish(connection, self.id, self.worker, state, counts, error)

    def release(self, counts: Mapping[str, Any] | None = None) -> None:
        with self._link.use() as connection:
            jobs_table.release(connection, self.id, self.worker, counts)

    def close(self) -> None:
        self._link.drop()
