"""Runs acceptances: operations in which an operator accepts the document of a window as it is."""

from __future__ import annotations

from typing import Any, Protocol

from services.fetcher.planning.windows import Window, window_of
from services.fetcher.postgres_backfills import NO_ACTIVE_REPLICA
from shared.database.connection import DbConnection
from shared.ops.operations import Operation
from shared.runtime.process.operation_poller import OperationProgress

ACCEPTANCE = "acceptance"


class AcceptanceRunner(Protocol):
    """The part of the fetcher that accepts windows (services/fetcher/fetch.py)."""

    def accept(self, window: Window) -> bool | None: ...


class AcceptanceOperations:
    """Passes each open acceptance to the fetcher and ends it when the window's cursor is committed."""

    def __init__(self, fetcher: AcceptanceRunner | None) -> None:
        """`fetcher` is None if the source is an archive of raw documents: then every acceptance fails."""
        self._fetcher = fetcher

    def read_progress(self, _connection: DbConnection, operation: Operation) -> OperationProgress | None:
        if operation.wanted == "cancel":
            return OperationProgress({}, final_state="cancelled")
        window = window_of(operation.target["window"], operation.target["source"])
        if self._fetcher is None or window is None:
            return OperationProgress({}, final_state="failed", error="the source is an archive: its windows are final")
        accepted = self._fetcher.accept(window)
        if accepted:
            return OperationProgress({"accepted": 1}, 1.0, final_state="succeeded")
        if accepted is None and not operation.waiting_for:
            return OperationProgress({}, waiting_for=NO_ACTIVE_REPLICA)
        return None


def acceptance_target(source: str, window: Window, reason: str) -> dict[str, Any]:
    return {"source": source, "window": window.key(source), "reason": reason}
