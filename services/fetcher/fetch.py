"""Fetches due windows in several threads and returns their outcomes as steps, in order.

The poller loop (runtime/loops/poller.py) requests steps and commits them. Meanwhile the threads work only a few windows
ahead: documents that are fetched but not committed are in memory, and are fetched again after a crash.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, datetime
from operator import attrgetter
from queue import SimpleQueue
from typing import Any

import structlog

from services.fetcher.fetch_window import DocumentStore, FetchOutcome, FetchWindow, RejectedStore
from services.fetcher.planning.changes import change_text
from services.fetcher.planning.windows import DueWindow, FetchPlan, Window, last_final_day
from services.fetcher.progress import FetchProgress
from services.fetcher.reference import reference_step
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import DocumentSource
from services.fetcher.steady_clock import SteadyClock
from shared.clock import Clock, VirtualClock
from shared.errors import TransientError
from shared.retry import Retry
from shared.runtime.loops.handler import SourceStep

# Size of a unit of historical windows: large enough that the commit costs little, small enough to hold several units
# in memory.
BATCH_RECORDS = 2000
BATCH_BYTES = 8 * 1024 * 1024
# Windows per thread that are submitted and not collected. With 4 threads they are two units, so that documents are
# fetched while the unit before them is committed.
WINDOWS_AHEAD = 6
# The end of a day and a due retry are noticed within this time, whatever the caller's timeout.
MAX_WAIT_S = 10.0
# The loop calls `next` every half second. Without a call for this long, this fetcher is on standby or paused.
IDLE_S = 5.0

EMPTY_STATUS: dict[str, Any] = {"windows": {}, "failed": [], "changes": [], "exhausted": False, "warning": None}


class Fetcher:
    """A Pollable. Call `load`, `next` and `close` from one thread, the other methods from any."""

    def __init__(
        self,
        source: Source,
        documents: DocumentSource,
        archive: DocumentStore,
        plan: FetchPlan,
        clock: Clock,
        *,
        threads: int = 8,
        batch_records: int = BATCH_RECORDS,
        rejected: RejectedStore | None = None,
    ) -> None:
        self._source = source
        self._documents = documents
        self._archive = archive
        self._clock = clock
        self._batch_records = batch_records
        self._fetch_window = FetchWindow(
            source,
            documents,
            archive,
            Retry(**source.retry.model_dump(), sleep=self._sleep),
            rejected,
            clock,
            self._is_over,
        )
        self._recorded = plan.recorded
        self._progress = FetchProgress(source, plan)
        self._threads = min(threads, source.concurrency)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="fetch")
        # No slow or hostile feed and no past day can hold back a feed of the current day.
        self._live_pool = ThreadPoolExecutor(source.live_concurrency, thread_name_prefix="fetch-live")
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._live: deque[Future[FetchOutcome]] = deque()
        self._history: deque[Future[FetchOutcome]] = deque()
        self._batch, self._batch_bytes = SourceStep([], {}), 0
        self._reference: SourceStep | None = None
        self._status = EMPTY_STATUS
        self._commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._backfill_counts: dict[str, dict[str, int]] = {}
        self._fetched_keys: list[str] = []
        self._changed_count = 0
        self._acceptances: set[Window] = set()
        self._accepted: set[Window] = set()
        self._polled_at_s = -math.inf
        self._warned = False
        self._log = structlog.get_logger()

    def load(self, cursors: Mapping[str, bytes]) -> None:
        """Start over from the committed cursors. Uncommitted documents are dropped."""
        for future in (*self._live, *self._history):
            future.cancel()
        self._live.clear()
        self._history.clear()
        self._batch, self._batch_bytes = SourceStep([], {}), 0
        self._progress.load(cursors)
        self._status = EMPTY_STATUS
        self._reference = reference_step(self._source, cursors, self._clock.now())

    def next(self, timeout_s: float) -> SourceStep | None:
        """The next step: reference data first, then the current day, then historical windows.

        The documents that its cursors rely on survive a power cut. Raises TransientError if the archive cannot be
        written.
        """
        self._polled_at_s = time.monotonic()
        if not self._batch.cursors:  # everything collected is committed by now
            self._backfill_counts = self._progress.backfill_counts()
            accepted = set(filter(self._progress.is_accepted, tuple(self._acceptances)))
            self._acceptances -= accepted
            self._accepted |= accepted
        deadline_s = self._polled_at_s + timeout_s
        while not self._closed.is_set():
            self._wake.clear()  # before the check, so that a fetch that ends during it is not missed
            left_s = deadline_s - time.monotonic()
            while not self._commands.empty():
                self._commands.get()()
            self._submit_due()
            step = self._take_urgent() or self._take_live() or self._take_history(deadline_passed=left_s <= 0)
            returns = step is not None or left_s <= 0
            if returns or not (self._live or self._history):
                self._update_status(step)  # not at each wake-up, because it counts all windows
            if returns:
                if step is not None:
                    self._archive.sync()
                return step
            self._wake.wait(min(left_s, self._wait_s()))
        return None

    def status(self) -> dict[str, Any]:
        """Counts of windows by status, failed windows with their causes, recent changes of final documents, whether the
        plan is finished, and a warning if nothing has been fetched.

        For a recorded archive also the coverage of its days (planning/coverage.py).
        """
        return self._status

    def fetched_keys(self) -> list[str]:
        """The cursor keys of the windows whose document is fetched but not committed, as of the last step."""
        return self._fetched_keys

    @property
    def changed_count(self) -> int:
        """The number of windows whose final document changed when it was fetched again, as of the last step."""
        return self._changed_count

    @property
    def is_active(self) -> bool:
        """Whether this fetcher fetches: it is neither on standby nor paused."""
        return time.monotonic() - self._polled_at_s < IDLE_S

    def backfill(self, name: str, windows: Sequence[Window], again: bool) -> None:
        """Fetch these windows in addition to the plan. A repeated call has no effect."""
        if name not in self._backfill_counts:
            self._commands.put(lambda: self._progress.backfill(name, windows, again))
            self._wake.set()

    def backfill_counts(self, name: str) -> dict[str, int] | None:
        """The windows of a backfill by outcome; None if this fetcher is on standby or paused."""
        return self._backfill_counts.get(name) if self.is_active else None

    def drop_backfill(self, name: str) -> None:
        """Stop fetching the windows of a backfill."""
        if name in self._backfill_counts:
            self._commands.put(lambda: self._progress.drop_backfill(name))

    def pause_backfill(self, name: str, paused: bool) -> None:
        """Pause a backfill or resume it. Windows that are being fetched are finished."""
        if name in self._backfill_counts:
            self._commands.put(lambda: self._progress.pause_backfill(name, paused))
            self._wake.set()

    def accept(self, window: Window) -> bool | None:
        """Accept the document of a window as it is. Call repeatedly: True once that is committed, None if this fetcher
        is on standby or paused."""
        if not self.is_active:
            return None
        if window in self._accepted:
            self._accepted.discard(window)
            return True
        self._acceptances.add(window)
        self._wake.set()
        return False

    def close(self) -> None:
        """Ends a wait in `next` and the delays between retries. Open requests end by their own time limits."""
        self._closed.set()
        self._wake.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._live_pool.shutdown(wait=False, cancel_futures=True)
        self._documents.close()

    def _submit_due(self) -> None:
        now = self._clock.now()
        self._live.extend(self._submit(self._live_pool, self._progress.take_live(now)))
        capacity = WINDOWS_AHEAD * self._threads - len(self._history)
        due = self._progress.take_history(now, max(0, capacity), self._final_now())
        self._history.extend(self._submit(self._pool, due))

    def _final_now(self) -> datetime:
        """The time that decides which days are over."""
        return self._clock.final_now() if isinstance(self._clock, SteadyClock) else self._clock.now()

    def _is_over(self, day: date) -> bool:
        """Whether the documents of a day are final; those of a recorded archive always are."""
        last_day = last_final_day(self._final_now(), self._source.zone, self._source.live.close_after_s)
        return self._recorded or day <= last_day

    def _submit(self, pool: ThreadPoolExecutor, windows: list[DueWindow]) -> list[Future[FetchOutcome]]:
        futures = [pool.submit(self._fetch_window, due, self._progress.cursor(due.window)) for due in windows]
        for future in futures:
            future.add_done_callback(lambda _: self._wake.set())
        return futures

    def _take_reference(self) -> SourceStep | None:
        step, self._reference = self._reference, None
        return step if step and step.records else None

    def _take_urgent(self) -> SourceStep | None:
        return self._take_reference() or self._take_acceptances()

    def _take_acceptances(self) -> SourceStep | None:
        """The cursors of windows that an operator accepted. One that is being fetched is taken later."""
        step = SourceStep([], {})
        for window in tuple(self._acceptances):
            key = window.key(self._source.name)
            if self._progress.is_accepted(window) or key in self._batch.cursors:  # committed later, after this step
                continue
            if (value := self._progress.accept(window)) is not None:
                step.cursors[key] = value
        return step if step.cursors else None

    def _take_live(self) -> SourceStep | None:
        """Finished fetches of the current day. A slow feed does not delay the others."""
        step = SourceStep([], {})
        for future in [each for each in self._live if each.done()]:
            self._live.remove(future)
            self._collect(future, step)
        return step if step.cursors else None

    def _take_history(self, deadline_passed: bool) -> SourceStep | None:
        """A step of finished historical windows, in order.

        The step is returned when it is full, when no fetch is outstanding, or after the deadline.
        """
        while self._history and self._history[0].done() and not self._is_full():
            self._batch_bytes += self._collect(self._history.popleft(), self._batch)
            self._submit_due()
        if not self._batch.cursors or (self._history and not self._is_full() and not deadline_passed):
            return None
        step = self._batch
        self._batch, self._batch_bytes = SourceStep([], {}), 0
        return step

    def _is_full(self) -> bool:
        return len(self._batch.records) >= self._batch_records or self._batch_bytes >= BATCH_BYTES

    def _collect(self, future: Future[FetchOutcome], step: SourceStep) -> int:
        """Add a fetch's outcome to the step. Returns the size of its records in bytes."""
        outcome = future.result()
        key = outcome.due.window.key(self._source.name)
        value = self._progress.record_outcome(outcome, self._clock.now())
        self._log_outcome(key, outcome)
        if outcome.changed or (outcome.cursor.state == "done" and outcome.deferred_until is None):
            step.records.extend(outcome.records)
            step.cursors[key] = value
        return sum(map(len, map(attrgetter("value"), outcome.records)))

    def _log_outcome(self, key: str, outcome: FetchOutcome) -> None:
        cursor = outcome.cursor
        if outcome.changed and cursor.error is not None:
            self._log.warning("window_failed", window=key, error=cursor.error, attempts=cursor.attempts)
        elif outcome.changed and cursor.change is not None and cursor.equal_answers == 1:
            self._log.warning("window_changed", window=key, change=change_text(cursor.change))

    def _update_status(self, step: SourceStep | None) -> None:
        """Update the status. With a step to commit, the plan is not exhausted before the next call."""
        exhausted = step is None and self._progress.is_exhausted(self._clock.now())
        progress = self._progress
        days = progress.coverage()
        warning = None if step else progress.warning(self._clock.now())
        if warning and not self._warned:
            self._log.warning("no_window_due", reason=warning)
        self._warned = self._warned or warning is not None
        outstanding = [each for each in (*self._live, *self._history) if each.done() and not each.cancelled()]
        self._fetched_keys = [each.result().due.window.key(self._source.name) for each in outstanding]
        self._changed_count = progress.changed_count()
        self._status = {
            "windows": progress.counts(),
            "failed": progress.failures(),
            "changes": progress.recent_changes(self._clock.now()),
            "exhausted": exhausted,
            "warning": warning,
            **({} if days is None else {"days": days}),
        }

    def _wait_s(self) -> float:
        """Seconds of real time until a window of the current day is due."""
        now = self._clock.now()
        at = self._progress.next_live_at(now)
        if at is None:
            return MAX_WAIT_S
        speed = self._clock.speed if isinstance(self._clock, VirtualClock) else 1.0
        return min(MAX_WAIT_S, max(0.001, (at - now).total_seconds() / speed))

    def _sleep(self, seconds: float) -> None:
        """Waits between two tries. Raises TransientError when the fetcher is closed."""
        if self._closed.wait(seconds):
            raise TransientError("the fetcher is stopping")
