"""Runs backfill operations: passes their windows to the fetcher and reports their progress."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Protocol

from services.fetcher.planning.windows import Window, windows_between
from shared.database.connection import DbConnection
from shared.ops.operations import Operation
from shared.runtime.process.operation_poller import Standing

KIND = "backfill"
# Shown in the operation as what it waits for, while no active replica has reported on it.
STANDING_BY = "an active fetcher replica (is the fetcher paused?)"


class Filling(Protocol):
    """The part of the fetcher that runs backfills (services/fetcher/fetch.py)."""

    def backfill(self, name: str, windows: Sequence[Window], again: bool) -> None: ...

    def backfilled(self, name: str) -> dict[str, int] | None: ...

    def drop_backfill(self, name: str) -> None: ...


class Backfills:
    """Passes each open backfill operation to the fetcher and reports its progress."""

    def __init__(self, fetcher: Filling | None) -> None:
        """`fetcher` is None if the source is an archive of raw documents: then every backfill fails."""
        self._fetcher = fetcher

    def look(self, _connection: DbConnection, operation: Operation) -> Standing | None:
        if self._fetcher is None:
            return Standing({}, ended="failed", error="the source is an archive: days cannot be fetched from it")
        if operation.wanted == "cancel":
            self._fetcher.drop_backfill(operation.id)
            return Standing(operation.counts, operation.progress, ended="cancelled")
        self._fetcher.backfill(operation.id, windows_of(operation.target), operation.target["again"])
        counts = self._fetcher.backfilled(operation.id)
        if counts is None:
            return None if operation.waiting_for or operation.counts else Standing({}, waiting_for=STANDING_BY)
        if counts["due"]:
            total = sum(counts.values())
            return Standing(counts, 1 - counts["due"] / total)
        self._fetcher.drop_backfill(operation.id)
        failed = counts["failed"]
        error = f"{failed} windows failed: see GET /v1/windows?state=failed for the causes" if failed else None
        return Standing(counts, 1.0, ended="failed" if failed else "succeeded", error=error)


def windows_of(target: dict[str, Any]) -> list[Window]:
    first, last = date.fromisoformat(target["from"]), date.fromisoformat(target["to"])
    return list(windows_between(first, last, target["feeds"]))
