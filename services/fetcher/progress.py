"""Tracks which windows are done, failed, in flight or due, from cursors and this run's fetches. Not thread-safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

import msgspec

from services.fetcher.fetch_window import FetchOutcome
from services.fetcher.planning.backfills import Backfills
from services.fetcher.planning.cadence import CadenceRules, EventTimes, event_times, next_fetch_at
from services.fetcher.planning.changes import recent_changes
from services.fetcher.planning.coverage import coverage_of
from services.fetcher.planning.cursor import WindowCursor, decode, encode, status_of
from services.fetcher.planning.nothing_due import Calendar, explain
from services.fetcher.planning.suspects import suspicions
from services.fetcher.planning.window_state import WindowState, WindowStates
from services.fetcher.planning.windows import (
    DueWindow,
    FetchPlan,
    Window,
    day_at,
    last_final_day,
    wait_s,
    windows_between,
)
from services.fetcher.planning_rules import cadence_rules_of, revisit_rules_of
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
        self._windows = WindowStates(source.name, self._feeds, revisit_rules_of(source))
        self._cadence = {feed: cadence_rules_of(source, feed) for feed in self._feeds}
        self._backfills = Backfills()
        self.load({})

    def load(self, cursors: Mapping[str, bytes]) -> None:
        """Start over from the committed cursors. Windows that failed in this run keep their retry times."""
        self._windows.load(cursors)
        self._pending: deque[Window] = deque()
        self._span: tuple[date, date] | None = None
        self._replan_at: datetime | None = None
        self._planned = False
        self._deferred: set[Window] = set()
        # No request may be made before these times: for windows of the current day, for historical windows.
        self._live_held_until: datetime | None = None
        self._history_held_until: datetime | None = None
        self._backfills.restart(self._windows.done())

    def take_history(self, now: datetime, max_windows: int, final_now: datetime | None = None) -> list[DueWindow]:
        """Up to `max_windows` windows whose day is over, oldest first, those of the plan before those of backfills.

        They are in flight until `record_outcome`. `final_now`: the time that decides which days are over, if it is not
        `now` (steady_clock.py).
        """
        if _is_held(self._history_held_until, now):
            return []
        span = self._span_at(final_now or now)
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
        self._backfills.add(name, windows, again, self._windows.done())

    def backfill_counts(self) -> dict[str, dict[str, int]]:
        """For each backfill, how many of its windows are due, done, failed and missing."""
        return self._backfills.counts()

    def pause_backfill(self, name: str, paused: bool) -> None:
        self._backfills.pause(name, paused)

    def drop_backfill(self, name: str) -> None:
        """Forget a backfill. Its windows that are in flight still report their outcomes."""
        self._backfills.drop(name)

    def take_live(self, now: datetime) -> list[DueWindow]:
        """The windows of the current day that are due. They are in flight until `record_outcome`."""
        today = day_at(now, self._source.zone)
        if not self._plan.includes_today(today) or _is_held(self._live_held_until, now):
            return []
        due_at = self._live_due_at(today, now)
        return self._mark_in_flight(
            DueWindow(window, historical=False)
            for window, at in due_at.items()
            if at <= now and (self._plan.follow or self._windows[window].checked_at is None)
        )

    def cursor(self, window: Window) -> WindowCursor:
        value = self._windows[window].value
        return WindowCursor() if value is None else decode(value)

    def record_outcome(self, outcome: FetchOutcome, now: datetime) -> bytes:
        """Record the outcome of a fetch. Returns the encoded cursor to commit."""
        window, cursor = outcome.due.window, outcome.cursor
        state = self._windows.stored(window)
        if outcome.deferred_until is not None:
            return self._defer(outcome.due, state, outcome.deferred_until)
        if outcome.due.historical and cursor.state != "live":
            cursor = msgspec.structs.replace(cursor, checked_at=now)
        state.value = encode(cursor)
        state.status = status_of(state.value)
        state.is_in_flight, state.checked_at = False, now
        if outcome.due.historical:
            self._record_history(window, state, outcome.absent, now)
        outcome_name = "failed" if cursor.error is not None else cursor.state
        self._backfills.record_outcome(window, "missing" if outcome.absent else outcome_name)
        return state.value

    def accept(self, window: Window) -> bytes | None:
        """Record that the window's document is accepted as it is. Returns the encoded cursor to commit; None if the
        window is in flight: try again later."""
        state = self._windows.stored(window)
        if state.is_in_flight:
            return None
        state.value = encode(self.cursor(window).as_accepted())
        state.status, state.retry_at = status_of(state.value), None
        return state.value

    def is_accepted(self, window: Window) -> bool:
        return self._windows[window].status.is_accepted

    def is_exhausted(self, now: datetime) -> bool:
        """Whether the plan is finished and will never have due windows again. Failed windows do not count as due."""
        if (
            not self._planned
            or self._pending
            or self._deferred
            or any(self._windows.in_flight())
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
            self._windows[Window(feed, today)].checked_at is None for feed in self._feeds
        )

    def next_live_at(self, now: datetime) -> datetime | None:
        """When a window of the current day is due next; None if the day is not followed."""
        today = day_at(now, self._source.zone)
        if not (self._plan.follow and self._plan.includes_today(today)):
            return None
        times = self._live_due_at(today, now).values()
        return max(min(times), self._live_held_until or min(times)) if times else None

    def counts(self) -> dict[str, int]:
        """Counts of windows by status. `due` includes windows in flight. A suspect window is also `done` if it has a
        final document; it is not `failed`."""
        statuses = self._windows.statuses()
        suspect = suspicions(statuses)
        return {
            "due": self._due_count(),
            "done": sum(status.state == "done" for window, status in statuses.items() if self._in_span(window)),
            "failed": sum(status.state == "failed" and window not in suspect for window, status in statuses.items()),
            "missing": sum(state.is_missing for _, state in self._windows.items()),
            "suspect": len(suspect),
        }

    def changed_count(self) -> int:
        """The number of windows whose final document changed when it was fetched again."""
        return sum(state.status.change is not None for _, state in self._windows.items())

    def recent_changes(self, now: datetime) -> list[dict[str, Any]]:
        """The newest of these changes as JSON (planning/changes.py)."""
        changes = {window: change for window, state in self._windows.items() if (change := state.status.change)}
        return recent_changes(changes, self._source.name, now)

    def _due_count(self) -> int:
        planned = len(self._deferred.union(self._pending))
        return planned + sum(1 for _ in self._windows.in_flight()) + sum(1 for _ in self._backfill_windows())

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
        pending = {window.date for window in (*self._pending, *self._deferred, *self._windows.in_flight())}
        return coverage_of(*self._span, {window.date for window in self._windows.done()}, pending)

    def failures(self) -> list[dict[str, Any]]:
        """The windows without a final document whose last fetch failed, with the causes. Some are suspect."""
        return self._windows.failures()

    def _span_at(self, now: datetime) -> tuple[date, date] | None:
        """First and last historical day. With `follow` the span grows each day."""
        plan, zone = self._plan, self._source.zone
        if plan.recorded and plan.first is not None and plan.last is not None:
            return plan.first, plan.last
        if not (plan.follow or plan.first or plan.last):
            return None  # nothing but backfills
        last_day = last_final_day(now, zone, self._source.live.close_after_s)
        last = last_day if plan.last is None else min(plan.last, last_day)
        # A plan without `first` begins with the oldest day that was followed but not closed, because the program was
        # not running when it ended.
        first = plan.first or self._windows.first_open_day(plan.last or day_at(now, zone))
        return (first, last) if first <= last else None

    def _replan(self, span: tuple[date, date] | None, now: datetime) -> None:
        self._planned, self._span, self._replan_at = True, span, None
        self._deferred.clear()
        # An archive has one document of each window.
        revisits = {} if self._plan.recorded else self._windows.revisits(now)
        due = {window for window, at in revisits.items() if at <= now}
        windows = list(windows_between(*span, self._feeds)) if span else []
        beyond = sorted((window for window in due if not self._in_span(window)), key=lambda window: window.date)
        self._pending = deque(window for window in (*windows, *beyond) if window in due or self._is_open(window, now))
        times = [state.retry_at for window, state in self._windows.items() if self._in_span(window)]
        later = [at for at in (*times, *revisits.values()) if at is not None and at > now]
        if self._plan.follow and later:
            self._replan_at = min(later)

    def _is_open(self, window: Window, now: datetime) -> bool:
        state = self._windows[window]
        if state.is_in_flight or state.status.state == "done":
            return False
        return state.retry_at is None or (self._plan.follow and now >= state.retry_at)

    def _defer(self, due: DueWindow, state: WindowState, until: datetime) -> bytes:
        """Put the window back. All requests go to one host, so those of history wait for those of the current day."""
        state.is_in_flight = False
        self._history_held_until = until
        if due.historical:
            # Windows of backfills are due until they have an outcome. The others are planned again, in order.
            if due.window not in self._backfills.due_windows():
                self._deferred.add(due.window)
        else:
            self._live_held_until = until
        return state.value or encode(WindowCursor())

    def _record_history(self, window: Window, state: WindowState, absent: bool, now: datetime) -> None:
        state.is_missing = absent and state.status.state != "done"
        if state.status.state == "done":
            state.retry_at = None
            at = self._windows.next_revisit_at(window.date, now)
        else:
            seconds = wait_s(max(1, state.status.attempts), self._source.live.poll_interval_s)
            at = state.retry_at = now + timedelta(seconds=seconds)
        if self._plan.follow and at is not None and not self._plan.recorded:
            self._replan_at = min(at, self._replan_at or at)

    def _mark_in_flight(self, windows: Iterable[DueWindow]) -> list[DueWindow]:
        marked = list(windows)
        for each in marked:
            self._windows.stored(each.window).is_in_flight = True
        return marked

    def _backfill_windows(self) -> Iterator[Window]:
        return (window for window in self._backfills.due_windows() if not self._windows[window].is_in_flight)

    def _live_due_at(self, today: date, now: datetime) -> dict[Window, datetime]:
        """When each window of the current day that is not in flight is due."""
        states = {window: self._windows[window] for feed in self._feeds if (window := Window(feed, today))}
        times = event_times(state.status.timetable for state in states.values() if state.status.timetable)
        return {
            window: self._due_at(state, self._cadence[window.feed], times, now)
            for window, state in states.items()
            if not state.is_in_flight
        }

    def _due_at(self, state: WindowState, rules: CadenceRules | None, times: EventTimes, now: datetime) -> datetime:
        if state.checked_at is None:
            return now
        if rules is None or state.status.error is not None:
            seconds = wait_s(state.status.attempts, self._source.live.poll_interval_s)
            return state.checked_at + timedelta(seconds=seconds)
        timetable = state.status.timetable
        published_at = None if timetable is None else timetable.published_at
        return next_fetch_at(state.checked_at, published_at, times, rules)

    def _in_span(self, window: Window) -> bool:
        return self._span is not None and self._span[0] <= window.date <= self._span[1]


def _is_held(until: datetime | None, now: datetime) -> bool:
    return until is not None and now < until
