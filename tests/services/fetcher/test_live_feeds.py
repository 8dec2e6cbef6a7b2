"""The feeds of the current day do not wait for each other."""

from __future__ import annotations

import threading
from contextlib import closing
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


def test_a_slow_feed_does_not_delay_the_others(tmp_path: Path, site: Site) -> None:
    for feed in ("cards", "looks", "ends"):
        site.pages[f"/{feed}/today.json"] = body(feed, [event(1)])
    release = threading.Event()
    site.answers["/cards/today.json"].append(delayed(release))
    limits = {"connect_timeout_s": 100, "read_timeout_s": 100, "total_timeout_s": 100, "max_body_bytes": 1_000_000}
    source, clock = made_source(site.url, http=limits), SettableClock()
    fetcher = Fetcher(source, HttpSource(source, clock), DocumentArchive(tmp_path), FetchPlan(DAY, follow=True), clock)
    with closing(fetcher):
        run = FetcherDriver(fetcher)

        wait_until(lambda: run.step(0.05) is None and len(run.records) == 2)
        before = {each.feed for each in raw_events(run.records)}
        release.set()
        wait_until(lambda: run.step(0.05) is None and len(run.records) == 3)

    assert before == {"looks", "ends"}
    assert raw_events(run.records)[-1].feed == "cards"
