"""Runs backfill operations: passes their windows to the fetcher and reports their progress."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Protocol

from services.fetcher.planning.windows import Window, windows_between
from shared.database.connection import DbConnection
from shared.ops.operations import Operation
from shared.runtime.process.operation_poller import OperationProgress

BACKFILL = "backfill"
# Shown in the operation as what it waits for, while no active replica has reported on it.
NO_ACTIVE_REPLICA = "an active fetcher replica (is the fetcher paused?)"


class BackfillRunner(Protocol):
    """The part of the fetcher that runs backfills (services/fetcher/fetch.py)."""

    def backfill(self, name: str, windows: Sequence[Window], again: bool) -> None: ...

    def backfill_counts(self, name: str) -> dict[str, int] | None: ...

    def drop_backfill(self, name: str) -> None: ...


class BackfillOperations:
    """Passes each open backfill operation to the fetcher and reports its progress."""

    def __init__(self, fetcher: BackfillRunner | None) -> None:
        """`fetcher` is None if the source is an archive of raw documents: then every backfill fails."""
        self._fetcher = fetcher

    def read_progress(self, _connection: DbConnection, operation: Operation) -> OperationProgress | None:
        if self._fetcher is None:
            return OperationProgress(
                {}, final_state="failed", error="the source is an archive: days cannot be fetched from it"
            )
        if operation.wanted == "cancel":
            self._fetcher.drop_backfill(operation.id)
            return OperationProgress(operation.counts, operation.progress, final_state="cancelled")
        self._fetcher.backfill(operation.id, windows_of(operation.target), operation.target["again"])
        counts = self._fetcher.backfill_counts(operation.id)
        if counts is None:
            return (
                None
                if operation.waiting_for or operation.counts
                else OperationProgress({}, waiting_for=NO_ACTIVE_REPLICA)
            )
        if counts["due"]:
            total = sum(counts.values())
            return OperationProgress(counts, 1 - counts["due"] / total)
        self._fetcher.drop_backfill(operation.id)
        failed = counts["failed"]
        error = f"{failed} windows failed: see GET /v1/windows?state=failed for the causes" if failed else None
        return OperationProgress(counts, 1.0, final_state="failed" if failed else "succeeded", error=error)


def windows_of(target: dict[str, Any]) -> list[Window]:
    first, last = date.fromisoformat(target["from"]), date.fromisoformat(target["to"])
    return list(windows_between(first, last, target["feeds"]))
