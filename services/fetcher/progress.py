"""Tracks which windows are done, failed, in flight or due, from cursors and this run's fetches. Not thread-safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

from services.fetcher.fetch_window import FetchOutcome
from services.fetcher.planning.backfills import Backfills
from services.fetcher.planning.coverage import coverage_of
from services.fetcher.planning.cursor import WindowCursor, decode, encode, status_of
from services.fetcher.planning.nothing_due import Calendar, explain
from services.fetcher.planning.suspects import suspect_windows
from services.fetcher.planning.window_state import WindowState
from services.fetcher.planning.windows import (
    DueWindow,
    FetchPlan,
    Window,
    day_at,
    last_final_day,
    wait_s,
    window_of,
    windows_between,
)
from services.fetcher.sources.declaration import Source


class FetchProgress:
    """Decides which windows to fetch next: historical windows in order, once per run; the current day at the source's
    polling interval.

    A historical window that failed or has no document is retried in the next run. With `follow` there may be no next
    run, so it is retried with growing delays.
    """

    def __init__(self, source: Source, plan: FetchPlan) -> None:
        self._source = source
        self._plan = plan
        self._feeds = [feed.name for feed in source.feeds]
        self._windows: dict[Window, WindowState] = {}
        self._backfills = Backfills()
        self.load({})

    def load(self, cursors: Mapping[str, bytes]) -> None:
        """Start over from the committed cursors. Windows that failed in this run keep their retry times."""
        retry_at = {window: state.retry_at for window, state in self._windows.items()}
        self._windows = {
            window: WindowState(value, status_of(value))
            for key, value in cursors.items()
            if (window := window_of(key, self._source.name)) and window.feed in self._feeds
        }
        for window, state in self._windows.items():
            state.retry_at = retry_at.get(window) if state.status.state == "failed" else None
        self._pending: deque[Window] = deque()
        self._span: tuple[date, date] | None = None
        self._replan_at: datetime | None = None
        self._planned = False
        self._deferred: set[Window] = set()
        # No request may be made before these times: for windows of the current day, for historical windows.
        self._live_held_until: datetime | None = None
        self._history_held_until: datetime | None = None
        self._backfills.restart(self._done_windows())

    def take_history(self, now: datetime, max_windows: int) -> list[DueWindow]:
        """Up to `max_windows` windows whose day is over, oldest first, those of the plan before those of backfills.

        They are in flight until `record_outcome`.
        """
        if _is_held(self._history_held_until, now):
            return []
        span = self._span_at(now)
        if (
            not self._planned
            or self._deferred
            or span != self._span
            or (self._replan_at is not None and now >= self._replan_at)
        ):
            self._replan(span, now)
        windows = [self._pending.popleft() for _ in range(min(max_windows, len(self._pending)))]
        windows += islice(
            (window for window in self._backfill_windows() if window not in windows), max_windows - len(windows)
        )
        return self._mark_in_flight(DueWindow(window, historical=True) for window in windows)

    def backfill(self, name: str, windows: Iterable[Window], again: bool) -> None:
        """Fetch these past windows too. `again`: also those that are done. A repeated call has no effect."""
        self._backfills.add(name, windows, again, self._done_windows())

    def backfill_counts(self) -> dict[str, dict[str, int]]:
        """For each backfill, how many of its windows are due, done, failed and missing."""
        return self._backfills.counts()

    def drop_backfill(self, name: str) -> None:
        """Forget a backfill. Its windows that are in flight still report their outcomes."""
        self._backfills.drop(name)

    def take_live(self, now: datetime) -> list[DueWindow]:
        """The windows of the current day that are due. They are in flight until `record_outcome`."""
        today = day_at(now, self._source.zone)
        if not self._plan.includes_today(today) or _is_held(self._live_held_until, now):
            return []
        windows = [Window(feed, today) for feed in self._feeds]
        return self._mark_in_flight(
            DueWindow(window, historical=False)
            for window in windows
            if not (state := self._state_of(window)).is_in_flight
            and (self._plan.follow or state.checked_at is None)
            and state.is_due(now, self._every_s(window))
        )

    def cursor(self, window: Window) -> WindowCursor:
        value = self._state_of(window).value
        return WindowCursor() if value is None else decode(value)

    def record_outcome(self, outcome: FetchOutcome, now: datetime) -> bytes:
        """Record the outcome of a fetch. Returns the encoded cursor to commit."""
        window, cursor = outcome.due.window, outcome.cursor
        state = self._windows.setdefault(window, WindowState())
        if outcome.deferred_until is not None:
            return self._defer(outcome.due, state, outcome.deferred_until)
        state.value = encode(cursor)
        state.status = status_of(state.value)
        state.is_in_flight, state.checked_at = False, now
        if outcome.due.historical:
            self._record_history(state, outcome.absent, now)
        self._backfills.record_outcome(window, "missing" if outcome.absent else cursor.state)
        return state.value

    def is_exhausted(self, now: datetime) -> bool:
        """Whether the plan is finished and will never have due windows again. Failed windows do not count as due."""
        if (
            not self._planned
            or self._pending
            or self._deferred
            or any(self._in_flight_windows())
            or any(self._backfill_windows())
        ):
            return False
        if not self._plan.follow:
            return not self.has_unfetched_live(now)
        last_day = last_final_day(now, self._source.zone, self._source.live.close_after_s)
        return self._plan.last is not None and last_day >= self._plan.last

    def has_unfetched_live(self, now: datetime) -> bool:
        today = day_at(now, self._source.zone)
        return self._plan.includes_today(today) and any(
            self._state_of(Window(feed, today)).checked_at is None for feed in self._feeds
        )

    def next_live_at(self, now: datetime) -> datetime | None:
        """When a window of the current day is due next; None if the day is not followed."""
        today = day_at(now, self._source.zone)
        if not (self._plan.follow and self._plan.includes_today(today)):
            return None
        windows = [window for feed in self._feeds if not self._state_of(window := Window(feed, today)).is_in_flight]
        times = [(self._state_of(w).checked_at or now) + timedelta(seconds=self._every_s(w)) for w in windows]
        return max(min(times), self._live_held_until or min(times)) if times else None

    def counts(self) -> dict[str, int]:
        """Counts of windows by status. `due` includes windows in flight, `done` those that are suspect."""
        done = sum(state.status.state == "done" for window, state in self._windows.items() if self._in_span(window))
        missing = sum(state.is_missing for state in self._windows.values())
        suspect = len(suspect_windows({window: state.status for window, state in self._windows.items()}))
        failed = len(self.failures())
        return {"due": self._due_count(), "done": done, "failed": failed, "missing": missing, "suspect": suspect}

    def _due_count(self) -> int:
        planned = len(self._deferred.union(self._pending))
        return planned + sum(1 for _ in self._in_flight_windows()) + sum(1 for _ in self._backfill_windows())

    def warning(self, now: datetime) -> str | None:
        """Why nothing has been fetched (planning/nothing_due.py); None if something has, failed or is due."""
        today = day_at(now, self._source.zone)
        fetched = any(
            state.status.state != "live" or state.status.events is not None
            for window, state in self._windows.items()
            if self._in_span(window) or window.date == today
        )
        if not self._planned or fetched or self._due_count() or self.has_unfetched_live(now):
            return None
        live = self._source.live
        times = [at for at in (self.next_live_at(now), self._replan_at) if at is not None]
        return explain(
            self._plan, Calendar(self._source.zone, live.close_after_s), now, self._span, min(times, default=None)
        )

    def coverage(self) -> dict[str, Any] | None:
        """Coverage of the days of a recorded plan (planning/coverage.py); None for other plans."""
        if not self._plan.recorded or self._span is None:
            return None
        pending = {window.date for window in (*self._pending, *self._deferred, *self._in_flight_windows())}
        return coverage_of(*self._span, {window.date for window in self._done_windows()}, pending)

    def failures(self) -> list[dict[str, Any]]:
        """The windows whose last fetch failed, with the causes."""
        failed_windows = [
            (window, state.status) for window, state in self._windows.items() if state.status.state == "failed"
        ]
        return [
            {"window": window.key(self._source.name), "error": status.error, "attempts": status.attempts}
            for window, status in sorted(failed_windows, key=lambda item: (item[0].date, item[0].feed))
        ]

    def _span_at(self, now: datetime) -> tuple[date, date] | None:
        """First and last historical day. With `follow` the span grows each day."""
        plan, zone = self._plan, self._source.zone
        if plan.recorded and plan.first is not None and plan.last is not None:
            return plan.first, plan.last
        last_day = last_final_day(now, zone, self._source.live.close_after_s)
        last = last_day if plan.last is None else min(plan.last, last_day)
        first = plan.first or self._first_open_day(plan.last or day_at(now, zone))
        return (first, last) if first <= last else None

    def _first_open_day(self, default: date) -> date:
        """The first day of a plan without `first`: the oldest day that was followed but not closed, because the program
        was not running when it ended."""
        opened = (w.date for w, state in self._windows.items() if state.value and state.status.state != "done")
        return min(opened, default=default)

    def _replan(self, span: tuple[date, date] | None, now: datetime) -> None:
        self._planned, self._span, self._replan_at = True, span, None
        self._deferred.clear()
        windows = windows_between(*span, self._feeds) if span else ()
        self._pending = deque(window for window in windows if self._is_open(window, now))
        times = [state.retry_at for window, state in self._windows.items() if self._in_span(window)]
        later = [at for at in times if at is not None and at > now]
        if self._plan.follow and later:
            self._replan_at = min(later)

    def _is_open(self, window: Window, now: datetime) -> bool:
        state = self._state_of(window)
        if state.is_in_flight or state.status.state == "done":
            return False
        return state.retry_at is None or (self._plan.follow and now >= state.retry_at)

    def _defer(self, due: DueWindow, state: WindowState, until: datetime) -> bytes:
        """Put the window back. All requests go to one host, so those of history wait for those of the current day."""
        state.is_in_flight = False
        self._history_held_until = until
        if due.historical:
            # Windows of backfills are due until they have an outcome. Those of the plan are planned again, in order.
            if self._in_span(due.window):
                self._deferred.add(due.window)
        else:
            self._live_held_until = until
        return state.value or encode(WindowCursor())

    def _record_history(self, state: WindowState, absent: bool, now: datetime) -> None:
        state.is_missing = absent and state.status.state != "done"
        if state.status.state == "done":
            state.retry_at = None
            return
        seconds = wait_s(max(1, state.status.attempts), self._source.live.poll_interval_s)
        at = state.retry_at = now + timedelta(seconds=seconds)
        if self._plan.follow:
            self._replan_at = min(at, self._replan_at or at)

    def _mark_in_flight(self, windows: Iterable[DueWindow]) -> list[DueWindow]:
        marked = list(windows)
        for each in marked:
            self._windows.setdefault(each.window, WindowState()).is_in_flight = True
        return marked

    def _backfill_windows(self) -> Iterator[Window]:
        return (window for window in self._backfills.due_windows() if not self._state_of(window).is_in_flight)

    def _in_flight_windows(self) -> Iterator[Window]:
        return (window for window, state in self._windows.items() if state.is_in_flight)

    def _done_windows(self) -> set[Window]:
        return {window for window, state in self._windows.items() if state.status.state == "done"}

    def _every_s(self, window: Window) -> float:
        return wait_s(self._state_of(window).status.attempts, self._source.live.poll_interval_s)

    def _state_of(self, window: Window) -> WindowState:
        return self._windows.get(window) or WindowState()

    def _in_span(self, window: Window) -> bool:
        return self._span is not None and self._span[0] <= window.date <= self._span[1]


def _is_held(until: datetime | None, now: datetime) -> bool:
    return until is not None and now < until
