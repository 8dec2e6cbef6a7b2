"""Describes what each window is: how far its records are, whether it is complete, and when it is fetched next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from services.fetcher.planning.coverage import days_between, gaps_of
from services.fetcher.planning.cursor import WindowStatus
from services.fetcher.planning.revisits import RevisitRules, next_visit_at
from services.fetcher.planning.suspects import suspicions
from services.fetcher.planning.windows import Window

LedgerState = Literal["planned", "live", "done", "suspect", "failed"]
Stage = Literal["planned", "fetched", "emitted", "loaded"]
Selection = Literal["missing", "failed", "suspect"]
Order = Literal["oldest", "newest"]


@dataclass(frozen=True)
class LedgerEntry:
    """One window. `detail`: the cause of a failure, or why the document is suspect. `next_at`: when it is fetched
    again; None if that is not planned or, for the current day and planned windows, follows from their order."""

    window: Window
    state: LedgerState
    stage: Stage
    status: WindowStatus
    detail: str | None
    next_at: datetime | None


@dataclass(frozen=True)
class Gap:
    """Consecutive days of a feed without a complete final document, with the states of their windows."""

    feed: str
    first: date
    last: date
    states: Mapping[str, int]


class Ledger:
    """The windows of a plan and those with a cursor."""

    def __init__(
        self,
        statuses: Mapping[Window, WindowStatus],
        planned: Iterable[Window],
        rules: RevisitRules,
        now: datetime,
        fetched: Collection[Window] = (),
        loaded: Collection[Window] = (),
    ) -> None:
        """`fetched`: windows whose document waits for its unit. `loaded`: windows whose records the loader handled."""
        self._statuses = statuses
        self._windows = {*statuses, *planned}
        self._suspicions = suspicions(statuses)
        self._rules, self._now = rules, now
        self._fetched, self._loaded = fetched, loaded

    def entries(self) -> list[LedgerEntry]:
        """All windows, by date and feed."""
        return [self.entry(window) for window in sorted(self._windows, key=lambda each: (each.date, each.feed))]

    def first_day(self) -> date | None:
        return min((window.date for window in self._windows), default=None)

    def entry(self, window: Window) -> LedgerEntry:
        """Also for a window that is not planned and was never fetched."""
        status, suspicion = self._statuses.get(window, WindowStatus()), self._suspicions.get(window)
        return LedgerEntry(
            window,
            self._state(window),
            self._stage(window),
            status,
            status.error if status.error is not None else suspicion,
            next_visit_at(status, suspicion is not None, self._rules, self._now),
        )

    def select(self, windows: Iterable[Window], only: Collection[Selection]) -> list[Window]:
        """Those of the windows, whose day is over, that are missing (without a final document), failed or suspect."""
        by_state: dict[LedgerState, Selection] = {
            "planned": "missing", "live": "missing", "failed": "failed", "suspect": "suspect",
        }  # fmt: skip
        return [window for window in windows if by_state.get(self._state(window)) in only]

    def gaps(self, windows: Iterable[Window]) -> list[Gap]:
        """The gaps in these windows, by feed in their order, then by date."""
        open_days: dict[str, dict[date, LedgerState]] = {}
        for window in windows:
            days = open_days.setdefault(window.feed, {})
            if (state := self._state(window)) != "done":
                days[window.date] = state
        return [
            Gap(feed, first, last, Counter[str](days[day] for day in days_between(first, last)))
            for feed, days in open_days.items()
            for first, last in gaps_of(days)
        ]

    def _state(self, window: Window) -> LedgerState:
        if window not in self._statuses:
            return "planned"
        return "suspect" if window in self._suspicions else self._statuses[window].state

    def _stage(self, window: Window) -> Stage:
        if window in self._fetched:
            return "fetched"
        if window not in self._statuses or self._statuses[window].fetched_at is None:
            return "planned"
        return "loaded" if window in self._loaded else "emitted"


def in_order(windows: Sequence[Window], order: Order) -> list[Window]:
    """The windows by day, the newest day first if requested; within a day the order of the feeds stays."""
    return sorted(windows, key=lambda window: window.date, reverse=order == "newest")
