"""A job that is ours, as its worker sees it: asking what is wanted of it, saying how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from shared.database.connection import Link
from shared.ops.operations import Operation, Wanted
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables.operations import get


class Claimed:
    """The row of a job under the name of its worker, over a connection of its own. TransientError: it is away."""

    def __init__(self, conninfo: str, operation_id: str, worker: str) -> None:
        self.id = operation_id
        self.worker = worker
        self._link = Link(conninfo, f"job {operation_id}", autocommit=True)

    def operation(self) -> Operation | None:
        """The row; None where it is not ours any more."""
        with self._link.use() as connection:
            found = get(connection, self.id)
        return found if found is not None and found.worker == self.worker and found.is_open else None

    def wanted(self) -> Wanted | None:
        """None: it is not ours any more, here and below."""
        with self._link.use() as connection:
            return jobs_table.wanted_of(connection, self.id, self.worker)

    def tell(
        self, counts: Mapping[str, Any] | None, progress: float | None, left_s: float | None, waiting_for: str | None
    ) -> Wanted | None:
        """Counts and progress stay as they are where none are given."""
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
