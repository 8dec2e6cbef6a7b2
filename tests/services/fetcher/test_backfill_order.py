"""The order of a backfill holds for its selected windows, over a pause, and in the process that continues it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.ledger import Ledger, Order, in_order
from services.fetcher.planning.revisits import RevisitRules
from services.fetcher.planning.windows import DueWindow, FetchPlan, Window, windows_between
from services.fetcher.postgres_backfills import windows_of
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import Absence, Document
from tests.services.fetcher.site import Site
from tests.services.fetcher.synthetic_documents import DAY, NOON, FetcherDriver, SettableClock, body, event, made_source
from tests.waiting import wait_until

DAYS = [DAY + timedelta(days=number) for number in range(8)]
FEEDS = ("cards", "ends")
NAME = "000000000001"


class Run(NamedTuple):
    """A fetcher with one thread, and the windows that it requested, in order."""

    driver: FetcherDriver
    requested: list[Window]

    def continue_until_done(self) -> None:
        counts = self.driver.fetcher.backfill_counts
        wait_until(lambda: self.driver.step(0.05) is None and (counts(NAME) or {}).get("due") == 0)


Start = Callable[[dict[str, bytes]], Run]


class RecordingSource(HttpSource):
    """Records the windows."""

    def __init__(self, source: Source, clock: SettableClock) -> None:
        super().__init__(source, clock)
        self.requested: list[Window] = []

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        self.requested.append(due.window)
        return super().fetch(due, etag)


@pytest.fixture
def start(tmp_path: Path, site: Site) -> Iterator[Start]:
    """Starts a fetcher without a plan of its own."""
    fetchers: list[Fetcher] = []
    clock = SettableClock(NOON + timedelta(days=30))
    for day in DAYS:
        for feed in FEEDS:
            site.pages[f"/{feed}/{day:%Y%m%d}.json"] = body(feed, [event(1, day)])

    def start_fetcher(cursors: dict[str, bytes]) -> Run:
        source = made_source(site.url, concurrency=1)
        documents, archive = RecordingSource(source, clock), DocumentArchive(tmp_path / "archive")
        fetchers.append(Fetcher(source, documents, archive, FetchPlan(), clock, batch_records=1))
        return Run(FetcherDriver(fetchers[-1], cursors), documents.requested)

    yield start_fetcher
    for fetcher in fetchers:
        fetcher.close()


def selected(order: Order) -> list[Window]:
    """What `--only missing` selects of windows that were never fetched."""
    ledger = Ledger({}, (), RevisitRules(60, 3600, 7200, 24), NOON)
    return ledger.select(in_order(list(windows_between(DAYS[0], DAYS[-1], FEEDS)), order), ["missing"])


def target(windows: list[Window], order: Order) -> dict[str, object]:
    """As it is stored with the operation."""
    names = [f"{each.feed}/{each.date}" for each in windows]
    return {"from": str(DAYS[0]), "to": str(DAYS[-1]), "feeds": list(FEEDS), "order": order, "windows": names}


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_selected_windows_are_fetched_in_order_over_a_pause(start: Start, order: Order) -> None:
    run, windows = start({}), windows_of(target(selected(order), order))
    fetcher = run.driver.fetcher
    fetcher.backfill(NAME, windows, again=True)
    wait_until(lambda: run.driver.step(0.05) is not None and fetcher.backfill_counts(NAME) is not None)

    fetcher.pause_backfill(NAME, paused=True)
    while run.driver.step(0.05) is not None:
        pass
    before = len(run.requested)
    fetcher.pause_backfill(NAME, paused=False)
    run.continue_until_done()

    assert 0 < before < len(windows)
    assert run.requested == windows
    assert windows[0].date == (DAYS[0] if order == "oldest" else DAYS[-1])


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_the_process_that_continues_a_backfill_continues_in_its_order(start: Start, order: Order) -> None:
    first, windows = start({}), windows_of(target(selected(order), order))
    first.driver.fetcher.backfill(NAME, windows, again=False)
    wait_until(lambda: first.driver.step(0.05) is not None)
    first.driver.fetcher.close()
    committed = [window for window in windows if window.key("meadow") in first.driver.cursors]

    second = start(first.driver.cursors)
    second.driver.fetcher.backfill(NAME, windows_of(target(selected(order), order)), again=False)
    second.continue_until_done()

    assert committed == windows[: len(committed)]
    assert second.requested == windows[len(committed) :]
