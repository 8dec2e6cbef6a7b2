"""A fetcher whose source throttles it: nothing fails, nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.gate.breaker import FAILURES
from services.fetcher.planning.windows import FetchPlan
from services.fetcher.sources.declaration import Budget
from shared.clock import VirtualClock
from shared.database.connection import DbConnection
from tests.services.fetcher.gate.replica import gated_source
from tests.services.fetcher.site import Site, status
from tests.services.fetcher.synthetic_documents import DAY, NOON, FetcherDriver, body, event, made_source

PLAN = FetchPlan(DAY - timedelta(days=4), DAY)


@pytest.fixture
def driver(site: Site, database_url: str, tmp_path: Path) -> Iterator[FetcherDriver]:
    """Fetches five days of three feeds."""
    for number in range(5):
        day = DAY - timedelta(days=number)
        for feed in ("cards", "looks", "ends"):
            site.pages[f"/{feed}/{day:%Y%m%d}.json"] = body(feed, [event(1, day)])
    clock = VirtualClock(NOON + timedelta(days=30), speed=1, epoch_s=time.time())
    documents = gated_source(database_url, site.url, Budget(rate=50, burst=5, in_flight=2), 60.0, clock)
    fetcher = Fetcher(made_source(site.url), documents, DocumentArchive(tmp_path), PLAN, clock)
    with closing(fetcher):
        yield FetcherDriver(fetcher)


def test_windows_are_put_back_while_the_source_asks_to_wait(site: Site, driver: FetcherDriver) -> None:
    for path in list(site.pages):
        site.answers[path].append(lambda handler: handler.answer(429, Retry_After="1"))

    records = driver.until_exhausted()

    assert len(records) == 15
    assert driver.failed() == {}
    assert site.max_concurrent_requests <= 2


def test_a_source_that_is_down_gets_no_request_for_each_window_and_try(
    site: Site, driver: FetcherDriver, database: DbConnection
) -> None:
    for path in list(site.pages):
        site.answers[path].extend([status(500)] * 20)

    while database.execute("SELECT state->'breaker'->>'state' FROM fetcher.gates").fetchone() != ("open",):
        driver.step(0.05)

    assert FAILURES <= len(site.requests) <= FAILURES + 1  # one was under way
