"""A window for which no request may be made now is put back: it does not fail, and is fetched when it may be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.planning.windows import DueWindow, FetchPlan, Window
from services.fetcher.sources.documents import Absence, Deferred, Document
from tests.services.fetcher.synthetic_documents import (
    DAY,
    NOON,
    FetcherDriver,
    SettableClock,
    document,
    event,
    made_source,
    raw_events,
)

LATER = NOON + timedelta(days=30)
FEEDS = ("cards", "looks", "ends")


class ClosedSource:
    """Defers every request until `opens_at`, then has a document for each window."""

    def __init__(self, clock: SettableClock, opens_at: datetime) -> None:
        self._clock = clock
        self.opens_at = opens_at
        self.requests: list[Window] = []
        self.deferred: list[Window] = []

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        if self._clock.now() < self.opens_at:
            self.deferred.append(due.window)
            raise Deferred(self.opens_at, "budget")
        self.requests.append(due.window)
        return document(due.window.feed, [event(1, due.window.date)], due.window.date, due.historical)

    def close(self) -> None:
        """Nothing to close."""


class Run:
    """A fetcher whose source opens after one hour."""

    def __init__(self, folder: Path, plan: FetchPlan, at: datetime) -> None:
        self.clock = SettableClock(at)
        self.source = ClosedSource(self.clock, at + timedelta(hours=1))
        self.fetcher = Fetcher(made_source(), self.source, DocumentArchive(folder), plan, self.clock)
        self.driver = FetcherDriver(self.fetcher)

    def step_until_deferred(self) -> None:
        while not self.source.deferred:
            self.driver.step(0.05)
        for _ in range(5):
            self.driver.step(0.05)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path, FetchPlan(DAY, DAY + timedelta(days=9)), LATER)
    yield run
    run.fetcher.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path, FetchPlan(follow=True), NOON)
    yield run
    run.fetcher.close()


def test_a_deferred_window_is_due_and_has_not_failed(history: Run) -> None:
    history.step_until_deferred()

    status = history.fetcher.status()
    assert status["windows"] == {"due": 30, "done": 0, "failed": 0, "missing": 0, "suspect": 0}
    assert not status["exhausted"]
    assert history.driver.cursors == {}


def test_deferred_windows_are_not_tried_again_before_the_time(history: Run) -> None:
    history.step_until_deferred()
    tries = len(history.source.deferred)

    history.clock.at = history.source.opens_at - timedelta(seconds=1)
    for _ in range(5):
        history.driver.step(0.05)

    assert len(history.source.deferred) == tries
    assert history.source.requests == []


def test_deferred_windows_are_all_fetched_once_in_order_after_the_time(history: Run) -> None:
    history.step_until_deferred()

    history.clock.at = history.source.opens_at
    records = history.driver.until_exhausted()

    keys = [raw.event_key.split(":")[1] for raw in raw_events(records) if raw.feed in FEEDS]
    assert len(keys) == 30
    assert keys == sorted(keys)
    assert len(set(history.source.requests)) == len(history.source.requests) == 30


def test_a_deferred_window_of_the_current_day_is_due_again_at_the_time(live: Run) -> None:
    live.step_until_deferred()
    assert {each.feed for each in live.source.deferred} == set(FEEDS)
    tries = len(live.source.deferred)

    live.driver.step(0.05)
    assert len(live.source.deferred) == tries

    live.clock.at = live.source.opens_at
    while len(live.source.requests) < len(FEEDS):
        live.driver.step(0.05)

    assert {window.feed for window in live.source.requests} == set(FEEDS)
    assert live.driver.failed() == {}


def test_the_windows_of_a_backfill_are_deferred_too(history: Run) -> None:
    before = Window("cards", DAY - timedelta(days=5))
    history.fetcher.backfill("op", [before], again=False)
    history.step_until_deferred()
    assert history.fetcher.backfill_counts("op") == {"due": 1, "done": 0, "failed": 0, "missing": 0}

    history.clock.at = history.source.opens_at
    history.driver.until_exhausted()

    assert history.fetcher.backfill_counts("op") == {"due": 0, "done": 1, "failed": 0, "missing": 0}


def test_a_restart_from_cursors_forgets_the_wait(history: Run) -> None:
    """Its time was of another run. The gate defers again where it must."""
    history.step_until_deferred()
    tries = len(history.source.deferred)

    history.fetcher.load(history.driver.cursors)
    while len(history.source.deferred) == tries:
        history.driver.step(0.05)

    assert history.source.requests == []
