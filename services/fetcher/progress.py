"""Which windows are done, failed, out or due, as the cursors and this run's visits say. Not thread-safe."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

from services.fetcher.coverage import coverage_of
from services.fetcher.cursor import Cursor, Standing, decode, encode, standing_of
from services.fetcher.fetch_window import Visited
from services.fetcher.sources.declaration import Source
from services.fetcher.windows import (
    Due,
    Plan,
    Window,
    day_at,
    due,
    last_ended,
    wait_s,
    window_of,
    windows_between,
)


@dataclass
class Backfill:
    """Windows that somebody asked for, and what became of each: due, done, failed, missing."""

    windows: tuple[Window, ...]
    again: bool
    came: dict[Window, str] = field(default_factory=dict)

    def begin(self, done: Collection[Window]) -> None:
        """From the beginning, given what is committed."""
        self.came = {window: "done" if window in done and not self.again else "due" for window in self.windows}


class Progress:
    """History is handed out in order, each window once a run; running days as often as the source says.

    A window of history that failed, or that has no document, is tried again in the next run; when days are followed
    there is no next run to wait for, and it is tried again with growing delays.
    """

    def __init__(self, source: Source, plan: Plan) -> None:
        self._source = source
        self._plan = plan
        self._feeds = [feed.name for feed in source.feeds]
        self._again_at: dict[Window, datetime] = {}
        self._backfills: dict[str, Backfill] = {}
        self.load({})

    def load(self, cursors: Mapping[str, bytes]) -> None:
        """Start over from what is committed; what failed in this run is still known to have."""
        windows = {window_of(key, self._source.name): value for key, value in cursors.items()}
        self._cursors = {window: value for window, value in windows.items() if window and window.feed in self._feeds}
        self._standing = {window: standing_of(value) for window, value in self._cursors.items()}
        self._again_at = {w: at for w, at in self._again_at.items() if self._standing_of(w).state == "failed"}
        self._checked_at: dict[Window, datetime] = {}
        self._missing: set[Window] = set()
        self._out: dict[Window, Due] = {}
        self._todo: deque[Window] = deque()
        self._span: tuple[date, date] | None = None
        self._replan_at: datetime | None = None
        self._planned = False
        for backfill in self._backfills.values():
            backfill.begin({window for window, standing in self._standing.items() if standing.state == "done"})

    def history(self, now: datetime, most: int) -> list[Due]:
        """Up to `most` windows whose day is over, oldest first, those of the plan before those of backfills; they are
        out until `settle`."""
        span = self._span_at(now)
        if not self._planned or span != self._span or (self._replan_at is not None and now >= self._replan_at):
            self._replan(span, now)
        taken = [self._todo.popleft() for _ in range(min(most, len(self._todo)))]
        taken += islice((window for window in self._to_fill() if window not in taken), most - len(taken))
        return self._handed_out(Due(window, historical=True) for window in taken)

    def backfill(self, name: str, windows: Iterable[Window], again: bool) -> None:
        """Visit these too, their days being over; `again`: also those that are done. Said again, it changes nothing."""
        if name not in self._backfills:
            added = self._backfills[name] = Backfill(tuple(windows), again)
            added.begin({window for window in added.windows if self._standing_of(window).state == "done"})

    def backfilled(self) -> dict[str, dict[str, int]]:
        """For each backfill how many of its windows are due, done, failed and missing."""
        return {
            name: {"due": 0, "done": 0, "failed": 0, "missing": 0} | Counter(backfill.came.values())
            for name, backfill in self._backfills.items()
        }

    def drop_backfill(self, name: str) -> None:
        """It is over; windows that are out come back nonetheless."""
        self._backfills.pop(name, None)

    def live(self, now: datetime) -> list[Due]:
        """The running day's windows that are to be looked at again; they are out until `settle`."""
        today = day_at(now, self._source.zone)
        if not self._plan.follows(today):
            return []
        windows = [Window(feed, today) for feed in self._feeds]
        return self._handed_out(
            Due(window, historical=False)
            for window in windows
            if window not in self._out
            and (self._plan.follow or window not in self._checked_at)
            and due(now, self._checked_at.get(window), self._every_s(window))
        )

    def cursor(self, window: Window) -> Cursor:
        value = self._cursors.get(window)
        return Cursor() if value is None else decode(value)

    def settle(self, visited: Visited, now: datetime) -> bytes:
        """Take a visit's answer over; gives its cursor as it is to be committed."""
        window, cursor = visited.due.window, visited.cursor
        self._out.pop(window, None)
        self._checked_at[window] = now
        value = encode(cursor)
        self._standing[window] = Standing(cursor.state, cursor.attempts, cursor.error)
        self._cursors[window] = value
        if visited.due.historical:
            self._settle_history(window, visited.absent, now)
        for backfill in self._backfills.values():
            if window in backfill.came:
                backfill.came[window] = "missing" if visited.absent else cursor.state
        return value

    def exhausted(self, now: datetime) -> bool:
        """Whether nothing is left of the plan, for ever. Windows that failed in this run count as left behind."""
        if not self._planned or self._todo or self._out or any(self._to_fill()):
            return False
        if not self._plan.follow:
            return not self.live_left(now)
        ended = last_ended(now, self._source.zone, self._source.live.close_after_s)
        return self._plan.last is not None and ended >= self._plan.last

    def live_left(self, now: datetime) -> bool:
        today = day_at(now, self._source.zone)
        return self._plan.follows(today) and any(Window(feed, today) not in self._checked_at for feed in self._feeds)

    def next_live_at(self, now: datetime) -> datetime | None:
        """When the running day is to be looked at next; None when it is not followed."""
        today = day_at(now, self._source.zone)
        if not (self._plan.follow and self._plan.follows(today)):
            return None
        windows = [Window(feed, today) for feed in self._feeds if Window(feed, today) not in self._out]
        times = [self._checked_at.get(w, now) + timedelta(seconds=self._every_s(w)) for w in windows]
        return min(times, default=None)

    def counts(self) -> dict[str, int]:
        """Windows by where they stand: due ones are in history or out now."""
        standings = [self._standing[window].state for window in self._standing if self._in_span(window)]
        failed = len(self.failed())
        due_now = len(self._todo) + len(self._out) + sum(1 for _ in self._to_fill())
        return {"due": due_now, "done": standings.count("done"), "failed": failed, "missing": len(self._missing)}

    def coverage(self) -> dict[str, Any] | None:
        """The days of a recorded span: those with a document that was read, and those with none. Else None."""
        if not self._plan.recorded or self._span is None:
            return None
        found = {window.date for window, standing in self._standing.items() if standing.state == "done"}
        pending = {window.date for window in (*self._todo, *self._out)}
        return coverage_of(*self._span, found, pending)

    def failed(self) -> list[dict[str, Any]]:
        """The windows that failed last time they were visited, and why."""
        return [
            {"window": window.key(self._source.name), "error": standing.error, "attempts": standing.attempts}
            for window, standing in sorted(self._standing.items(), key=lambda item: (item[0].date, item[0].feed))
            if standing.state == "failed"
        ]

    def _span_at(self, now: datetime) -> tuple[date, date] | None:
        """First and last day of history; it grows while days are followed."""
        plan, zone = self._plan, self._source.zone
        if plan.recorded and plan.first is not None and plan.last is not None:
            return plan.first, plan.last
        ended = last_ended(now, zone, self._source.live.close_after_s)
        last = ended if plan.last is None else min(plan.last, ended)
        first = plan.first or self._first_open_day(plan.last or day_at(now, zone))
        return (first, last) if first <= last else None

    def _first_open_day(self, default: date) -> date:
        """With no first day asked for: where a day was followed and not closed, for the program was not running."""
        return min((w.date for w, standing in self._standing.items() if standing.state != "done"), default=default)

    def _replan(self, span: tuple[date, date] | None, now: datetime) -> None:
        self._planned, self._span, self._replan_at = True, span, None
        windows = windows_between(*span, self._feeds) if span else ()
        self._todo = deque(window for window in windows if self._is_open(window, now))
        later = [at for window, at in self._again_at.items() if self._in_span(window) and at > now]
        if self._plan.follow and later:
            self._replan_at = min(later)

    def _is_open(self, window: Window, now: datetime) -> bool:
        if window in self._out or self._standing_of(window).state == "done":
            return False
        again_at = self._again_at.get(window)
        return again_at is None or (self._plan.follow and now >= again_at)

    def _settle_history(self, window: Window, absent: bool, now: datetime) -> None:
        standing = self._standing_of(window)
        self._missing.discard(window)
        if standing.state == "done":
            self._again_at.pop(window, None)
            return
        if absent:
            self._missing.add(window)
        seconds = wait_s(max(1, standing.attempts), self._source.live.poll_interval_s)
        at = self._again_at[window] = now + timedelta(seconds=seconds)
        if self._plan.follow:
            self._replan_at = min(at, self._replan_at or at)

    def _to_fill(self) -> Iterator[Window]:
        seen: set[Window] = set()
        for backfill in self._backfills.values():
            for window, came in backfill.came.items():
                if came == "due" and window not in self._out and window not in seen:
                    seen.add(window)
                    yield window

    def _handed_out(self, found: Any) -> list[Due]:
        handed = list(found)
        self._out.update((each.window, each) for each in handed)
        return handed

    def _every_s(self, window: Window) -> float:
        return wait_s(self._standing_of(window).attempts, self._source.live.poll_interval_s)

    def _standing_of(self, window: Window) -> Standing:
        return self._standing.get(window) or Standing()

    def _in_span(self, window: Window) -> bool:
        return self._span is not None and self._span[0] <= window.date <= self._span[1]
