"""The fetcher follows the cadence of a declaration, also after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.windows import FetchPlan
from tests.services.fetcher.site import Site
from tests.services.fetcher.synthetic_documents import FetcherDriver, SettableClock, body, event, made_source

CADENCE = {
    "start": {"feed": "cards", "key": "starts_at"},
    "settled": {"feed": "ends", "key": "place"},
    "near_s": 600,
    "near_interval_s": 30,
    "near_feeds": ["looks", "ends"],
    "interval_s": 120,
    "night_interval_s": 1000,
}


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()  # noon


@pytest.fixture
def driver(site: Site, clock: SettableClock, tmp_path: Path) -> Iterator[FetcherDriver]:
    """A fetcher of a day with one event, which starts at 13:00."""
    site.pages["/cards/today.json"] = body("cards", [event(1, starts_at="2031-05-04 13:00:00")])
    for feed in ("looks", "ends"):
        site.pages[f"/{feed}/today.json"] = body(feed, [event(1, place=None)])
    source = made_source(site.url, cadence=CADENCE)
    with closing(
        Fetcher(source, HttpSource(source, clock), DocumentArchive(tmp_path / "a"), FetchPlan(follow=True), clock)
    ) as fetcher:
        driver = FetcherDriver(fetcher)
        driver.run_due_windows()
        yield driver


def requests_after(driver: FetcherDriver, clock: SettableClock, site: Site, seconds: float) -> set[str]:
    """The feeds that are fetched once so much time has passed."""
    before = len(site.requests)
    clock.at += timedelta(seconds=seconds)
    driver.run_due_windows()
    return {path.split("/")[1] for path in site.requests[before:]}


def test_documents_are_fetched_by_the_start_of_the_event_and_until_it_is_settled(
    driver: FetcherDriver, clock: SettableClock, site: Site
) -> None:
    night = requests_after(driver, clock, site, 999), requests_after(driver, clock, site, 1)
    requests_after(driver, clock, site, 2200)  # 12:53:20
    near = requests_after(driver, clock, site, 30), requests_after(driver, clock, site, 90)
    site.pages["/ends/today.json"] = body("ends", [event(1, place=1)])
    settling = requests_after(driver, clock, site, 600)
    settled = requests_after(driver, clock, site, 120), requests_after(driver, clock, site, 880)

    everything = {"cards", "looks", "ends"}
    assert night == (set(), everything)
    assert near == ({"looks", "ends"}, everything)
    assert settling == everything
    assert settled == (set(), everything)


def test_starts_are_known_after_a_restart(driver: FetcherDriver, clock: SettableClock, site: Site) -> None:
    driver.fetcher.load(driver.cursors)
    driver.run_due_windows()

    assert requests_after(driver, clock, site, 999) == set()
