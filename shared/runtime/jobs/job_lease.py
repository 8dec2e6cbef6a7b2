"""Lets a worker read the requested state of its job, report its progress, and end or release it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from shared.database.connection import Link
from shared.ops.operations import Operation, Wanted
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables.operations import get


class Claimed:
    """A job held by a worker, over its own connection. All methods raise TransientError if the database is
    unavailable."""

    def __init__(self, conninfo: str, operation_id: str, worker: str) -> None:
        self.id = operation_id
        self.worker = worker
        self._link = Link(conninfo, f"job {operation_id}", autocommit=True)

    def operation(self) -> Operation | None:
        """The job's operation; None if it is over or this worker no longer holds it."""
        with self._link.use() as connection:
            found = get(connection, self.id)
        return found if found is not None and found.worker == self.worker and found.is_open else None

    def wanted(self) -> Wanted | None:
        """The requested state; None if the job is over or this worker no longer holds it."""
        with self._link.use() as connection:
            return jobs_table.wanted_of(connection, self.id, self.worker)

    def tell(
        self, counts: Mapping[str, Any] | None, progress: float | None, left_s: float | None, waiting_for: str | None
    ) -> Wanted | None:
        """Report the progress; None leaves counts and progress unchanged. Returns the requested state, as
        `read_requested_state` does."""
        with self._link.use() as connection:
            return jobs_table.tell(
                connection, self.id, self.worker, counts, progress, left_s=left_s, waiting_for=waiting_for
            )

    def end(
        self, state: Literal["succeeded", "failed"], counts: Mapping[str, Any] | None = None, error: str | None = None
    ) -> None:
        with self._link.use() as connection:
            jobs_table.end(connection, self.id, self.worker, state, counts, error)

    def lay_down(self, counts: Mapping[str, Any] | None = None) -> None:
        with self._link.use() as connection:
            jobs_table.lay_down(connection, self.id, self.worker, counts)

    def close(self) -> None:
        self._link.drop()
