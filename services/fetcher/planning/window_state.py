"""The states of the windows: their committed cursors, and what this run did with them. Not thread-safe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from services.fetcher.planning.cursor import WindowStatus, status_of
from services.fetcher.planning.revisits import RevisitRules, next_visit_at
from services.fetcher.planning.suspects import suspicions
from services.fetcher.planning.windows import Window, window_of

NEW_STATUS = WindowStatus()


@dataclass
class WindowState:
    """`value` is the encoded cursor, None before the first fetch, and `status` is decoded from it. The other fields
    describe this run: `checked_at` is the time of the last fetch."""

    value: bytes | None = None
    status: WindowStatus = NEW_STATUS
    checked_at: datetime | None = None
    retry_at: datetime | None = None
    is_missing: bool = False
    is_in_flight: bool = False


class WindowStates:
    """All windows of a source that were fetched or are in flight."""

    def __init__(self, source: str, feeds: Sequence[str], rules: RevisitRules) -> None:
        self._source = source
        self._feeds = feeds
        self._rules = rules
        self._states: dict[Window, WindowState] = {}

    def load(self, cursors: Mapping[str, bytes]) -> None:
        """Start over from the committed cursors. Windows that failed in this run keep their retry times."""
        retry_at = {window: state.retry_at for window, state in self._states.items()}
        self._states = {
            window: WindowState(value, status_of(value))
            for key, value in cursors.items()
            if (window := window_of(key, self._source)) and window.feed in self._feeds
        }
        for window, state in self._states.items():
            state.retry_at = retry_at.get(window) if state.status.state == "failed" else None

    def __getitem__(self, window: Window) -> WindowState:
        """The state of a window; a new one, which is not stored, if it was never fetched."""
        return self._states.get(window) or WindowState()

    def stored(self, window: Window) -> WindowState:
        """The state of a window, to be changed."""
        return self._states.setdefault(window, WindowState())

    def items(self) -> Iterator[tuple[Window, WindowState]]:
        return iter(self._states.items())

    def statuses(self) -> dict[Window, WindowStatus]:
        return {window: state.status for window, state in self._states.items()}

    def done(self) -> set[Window]:
        return {window for window, state in self._states.items() if state.status.state == "done"}

    def in_flight(self) -> Iterator[Window]:
        return (window for window, state in self._states.items() if state.is_in_flight)

    def first_open_day(self, default: date) -> date:
        """The oldest day that was fetched but not closed."""
        opened = (window.date for window, state in self._states.items() if state.value and state.status.state != "done")
        return min(opened, default=default)

    def revisits(self, now: datetime) -> dict[Window, datetime]:
        """When each window that is done is fetched again; without those that are not."""
        suspect = suspicions(self.statuses())
        return {
            window: at
            for window, state in self._states.items()
            if state.status.state == "done" and not state.is_in_flight
            if (at := next_visit_at(state.status, window in suspect, self._rules, now)) is not None
        }

    def next_revisit_at(self, day: date, now: datetime) -> datetime | None:
        """When a window of this day that is done is fetched again."""
        statuses = {
            window: self[window].status for feed in self._feeds if (window := Window(feed, day)) in self._states
        }
        suspect = suspicions(statuses)
        times = [
            next_visit_at(status, window in suspect, self._rules, now)
            for window, status in statuses.items()
            if status.state == "done"
        ]
        return min((at for at in times if at is not None), default=None)

    def failures(self) -> list[dict[str, Any]]:
        """The windows whose last fetch failed and that have no final document, with the causes."""
        failed = [(window, state.status) for window, state in self._states.items() if state.status.state == "failed"]
        return [
            {"window": window.key(self._source), "error": status.error, "attempts": status.attempts}
            for window, status in sorted(failed, key=lambda item: (item[0].date, item[0].feed))
        ]
