"""The feeds of the current day wait neither for each other nor for past days."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.windows import FetchPlan
from tests.services.fetcher.site import Site, delayed
from tests.services.fetcher.synthetic_documents import (
    DAY,
    FetcherDriver,
    SettableClock,
    body,
    event,
    made_source,
    raw_events,
)
from tests.waiting import wait_until

# In seconds: no limit ends a request of these tests.
LIMITS = {"connect_timeout_s": 100, "read_timeout_s": 100, "total_timeout_s": 100, "max_body_bytes": 1_000_000}


def test_a_slow_feed_does_not_delay_the_others(tmp_path: Path, site: Site) -> None:
    for feed in ("cards", "looks", "ends"):
        site.pages[f"/{feed}/today.json"] = body(feed, [event(1)])
    release = threading.Event()
    site.answers["/cards/today.json"].append(delayed(release))
    source, clock = made_source(site.url, http=LIMITS), SettableClock()
    fetcher = Fetcher(source, HttpSource(source, clock), DocumentArchive(tmp_path), FetchPlan(DAY, follow=True), clock)
    with closing(fetcher):
        run = FetcherDriver(fetcher)

        wait_until(lambda: run.step(0.05) is None and len(run.records) == 2)
        before = {each.feed for each in raw_events(run.records)}
        release.set()
        wait_until(lambda: run.step(0.05) is None and len(run.records) == 3)

    assert before == {"looks", "ends"}
    assert raw_events(run.records)[-1].feed == "cards"


def test_slow_documents_of_past_days_do_not_delay_the_current_day(tmp_path: Path, site: Site) -> None:
    release = threading.Event()
    past = DAY - timedelta(days=1)
    for feed in ("cards", "looks", "ends"):
        site.pages[f"/{feed}/today.json"] = body(feed, [event(1)])
        site.answers[f"/{feed}/{past:%Y%m%d}.json"].append(delayed(release))
    source, clock = made_source(site.url, http=LIMITS, concurrency=1), SettableClock()
    plan = FetchPlan(past, follow=True)
    fetcher = Fetcher(source, HttpSource(source, clock), DocumentArchive(tmp_path), plan, clock)
    with closing(fetcher):
        run = FetcherDriver(fetcher)

        wait_until(lambda: run.step(0.05) is None and len(run.records) == 3)
        wait_until(lambda: any(f"{past:%Y%m%d}" in request for request in site.requests))
        for feed in ("cards", "looks", "ends"):
            site.pages[f"/{feed}/today.json"] = body(feed, [event(1), event(2)])
        clock.at += timedelta(seconds=source.live.poll_interval_s)
        wait_until(lambda: run.step(0.05) is None and len(run.records) == 6)
        release.set()

    assert [each.feed for each in raw_events(run.records)].count("cards") == 2
