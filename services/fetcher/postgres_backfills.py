"""Runs backfill operations: passes their windows to the fetcher and reports their progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, NamedTuple, Protocol

from services.fetcher.planning.ledger import in_order
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

    def pause_backfill(self, name: str, paused: bool) -> None: ...

    def drop_backfill(self, name: str) -> None: ...


class _Pace(NamedTuple):
    """When the rate of a backfill is measured from, in seconds of a monotonic clock, and how many windows were due."""

    from_s: float
    due: int


class BackfillOperations:
    """Passes each open backfill operation to the fetcher and reports its progress."""

    def __init__(self, fetcher: BackfillRunner | None, elapsed_s: Callable[[], float] = time.monotonic) -> None:
        """`fetcher` is None if the source is an archive of raw documents: then every backfill fails."""
        self._fetcher = fetcher
        self._elapsed_s = elapsed_s
        self._paces: dict[str, _Pace] = {}

    def read_progress(self, _connection: DbConnection, operation: Operation) -> OperationProgress | None:
        if self._fetcher is None:
            return OperationProgress(
                {}, final_state="failed", error="the source is an archive: days cannot be fetched from it"
            )
        if operation.wanted == "cancel":
            self._drop(self._fetcher, operation.id)
            return OperationProgress(operation.counts, operation.progress, final_state="cancelled")
        self._fetcher.backfill(operation.id, windows_of(operation.target), operation.target["again"])
        is_paused = operation.wanted == "pause"
        self._fetcher.pause_backfill(operation.id, is_paused)
        counts = self._fetcher.backfill_counts(operation.id)
        if counts is None:
            return (
                None
                if operation.waiting_for or operation.counts
                else OperationProgress({}, waiting_for=NO_ACTIVE_REPLICA)
            )
        if counts["due"]:
            progress, left_s = (
                1 - counts["due"] / sum(counts.values()),
                self._left_s(operation.id, counts["due"], is_paused),
            )
            return OperationProgress(counts, progress, left_s=left_s, is_paused=is_paused)
        self._drop(self._fetcher, operation.id)
        failed = counts["failed"]
        error = f"{failed} windows failed: `headrace windows` (GET /v1/windows) has the causes" if failed else None
        return OperationProgress(counts, 1.0, final_state="failed" if failed else "succeeded", error=error)

    def _drop(self, fetcher: BackfillRunner, name: str) -> None:
        fetcher.drop_backfill(name)
        self._paces.pop(name, None)

    def _left_s(self, name: str, due: int, is_paused: bool) -> float | None:
        """The estimated remaining time, at the mean rate since this process saw the backfill run; None if unknown."""
        if is_paused:
            self._paces.pop(name, None)
            return None
        now_s = self._elapsed_s()
        pace = self._paces.setdefault(name, _Pace(now_s, due))
        ended = pace.due - due
        return due * (now_s - pace.from_s) / ended if ended > 0 else None


def windows_of(target: dict[str, Any]) -> list[Window]:
    """The windows of a backfill in order. `windows` of the target, FEED/YYYY-MM-DD, are those it was limited to."""
    if target.get("windows") is not None:
        named = (text.partition("/") for text in target["windows"])
        return [Window(feed, date.fromisoformat(day)) for feed, _, day in named]
    first, last = date.fromisoformat(target["from"]), date.fromisoformat(target["to"])
    return in_order(list(windows_between(first, last, target["feeds"])), target.get("order", "oldest"))
