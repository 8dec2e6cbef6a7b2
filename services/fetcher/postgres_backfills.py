"""Backfills as operations: what the fetcher is asked to fetch beside its plan, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Protocol

from services.fetcher.planning.windows import Window, windows_between
from shared.database.connection import DbConnection
from shared.ops.operations import Operation
from shared.runtime.process.operation_poller import Standing

KIND = "backfill"
# Said when no replica has answered for the operation.
STANDING_BY = "the replica that fetches: is the fetcher paused?"


class Filling(Protocol):
    """What is needed of the fetcher (services/fetcher/fetch.py)."""

    def backfill(self, name: str, windows: Sequence[Window], again: bool) -> None: ...

    def backfilled(self, name: str) -> dict[str, int] | None: ...

    def drop_backfill(self, name: str) -> None: ...


class Backfills:
    """Looks at each open backfill: hands it to the fetcher, and says how far that is."""

    def __init__(self, fetcher: Filling | None) -> None:
        """None: this fetcher only retells what was kept."""
        self._fetcher = fetcher

    def look(self, _connection: DbConnection, operation: Operation) -> Standing | None:
        if self._fetcher is None:
            return Standing({}, ended="failed", error="nothing is fetched here: documents of an archive are told again")
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
        error = f"{failed} windows failed: GET /v1/windows?state=failed says why" if failed else None
        return Standing(counts, 1.0, ended="failed" if failed else "succeeded", error=error)


def windows_of(target: dict[str, Any]) -> list[Window]:
    first, last = date.fromisoformat(target["from"]), date.fromisoformat(target["to"])
    return list(windows_between(first, last, target["feeds"]))
