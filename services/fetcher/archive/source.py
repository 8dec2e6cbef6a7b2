"""Reads an archive of raw documents as a source and rebuilds the records of every window in it."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from datetime import date
from typing import Any

from services.fetcher.archive.rebuild import Recapture, lines_by_window
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.planning.coverage import coverage_of
from services.fetcher.planning.cursor import WindowStatus, encode, status_of
from services.fetcher.planning.windows import Window, window_of
from services.fetcher.reference import reference_step
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import IndexLine
from shared.clock import Clock
from shared.runtime.loops.handler import SourceStep


class ArchivedSource:
    """A Pollable (shared/runtime/loops/handler.py) over the days `first` to `last`; None leaves an end open."""

    def __init__(
        self,
        source: Source,
        archive: DocumentArchive,
        clock: Clock,
        first: date | None,
        last: date | None,
        batch_records: int,
    ) -> None:
        self._source = source
        self._archive = archive
        self._clock = clock
        self._days = first, last
        self._batch_records = batch_records
        self._recapture = Recapture(source, archive.read)
        self._histories: dict[Window, list[IndexLine]] = {}
        self._pending: deque[Window] = deque()
        self._statuses: dict[Window, WindowStatus] = {}
        self._reference: SourceStep | None = None
        self._closed = threading.Event()
        self._status: dict[str, Any] = {"windows": {}, "failed": [], "exhausted": False}

    def load(self, cursors: Mapping[str, bytes]) -> None:
        values = {window_of(key, self._source.name): value for key, value in cursors.items()}
        self._statuses = {window: status_of(value) for window, value in values.items() if window is not None}
        self._histories = lines_by_window(self._archive.documents(), self._source, *self._days)
        self._pending = deque(each for each in self._histories if self._state(each) != "done")
        self._reference = reference_step(self._source, cursors, self._clock.now())

    def next(self, timeout_s: float) -> SourceStep | None:
        step, self._reference = self._reference, None
        if step is None or not step.records:
            step = self._next_windows()
        self._update_status(exhausted=step is None)
        if step is None:
            self._closed.wait(timeout_s)
        return step

    def status(self) -> dict[str, Any]:
        """The same fields as `Fetcher.status` (services/fetcher/fetch.py)."""
        return self._status

    @property
    def is_active(self) -> bool:
        """As of `Fetcher`. An archive is read once, so a replica that lost its ownership is not told apart."""
        return True

    def close(self) -> None:
        self._closed.set()

    def _next_windows(self) -> SourceStep | None:
        step = SourceStep([], {})
        while self._pending and len(step.records) < self._batch_records:
            window = self._pending.popleft()
            rebuilt = self._recapture(window, self._histories[window])
            step.records.extend(rebuilt.records)
            step.cursors[window.key(self._source.name)] = encode(rebuilt.cursor)
            self._statuses[window] = WindowStatus(rebuilt.cursor.state, rebuilt.cursor.attempts, rebuilt.cursor.error)
        return step if step.cursors else None

    def _state(self, window: Window) -> str | None:
        return self._statuses[window].state if window in self._statuses else None

    def _update_status(self, exhausted: bool) -> None:
        states = Counter(self._state(window) for window in self._histories)
        failed = [
            {"window": window.key(self._source.name), "error": status.error, "attempts": status.attempts}
            for window, status in sorted(self._statuses.items(), key=lambda item: (item[0].date, item[0].feed))
            if status.state == "failed"
        ]
        windows = {"due": len(self._pending), "done": states["done"], "failed": len(failed), "missing": 0, "suspect": 0}
        self._status = {"windows": windows, "failed": failed, "exhausted": exhausted, **self._coverage()}

    def _coverage(self) -> dict[str, Any]:
        """`days`: coverage from the first to the last requested day, or else day with a document."""
        done_days = {window.date for window in self._histories if self._state(window) == "done"}
        days = {window.date for window in self._histories}
        first, last = self._days[0] or min(days, default=None), self._days[1] or max(days, default=None)
        if first is None or last is None:
            return {}
        return {"days": coverage_of(first, last, done_days, {window.date for window in self._pending})}
