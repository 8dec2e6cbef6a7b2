"""Metrics of windows, from a fetcher over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.http.source import HttpSource
from services.fetcher.measurements import measure_windows
from services.fetcher.planning.windows import FetchPlan
from shared.runtime.measurements import Measurement
from shared.runtime.metrics import Metrics
from tests.services.fetcher.site import Site
from tests.services.fetcher.synthetic_documents import DAY, NOON, FetcherDriver, SettableClock, body, event, made_source


def values(metrics: Metrics) -> dict[str, float]:
    """The windows by state, and whether a document is expected."""
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {
        sample.labels.get("state", "expected"): sample.value
        for sample in samples
        if sample.name in {"headrace_fetch_windows", "headrace_fetch_document_expected"}
    }


class MeasuredFetcher:
    """A fetcher of one past day or of the current one, with its metrics."""

    def __init__(self, site: Site, folder: Path, plan: FetchPlan, clock: SettableClock) -> None:
        source = made_source(site.url)
        self.fetcher = Fetcher(source, HttpSource(source, clock), DocumentArchive(folder / "archive"), plan, clock)
        self.driver = FetcherDriver(self.fetcher)
        self.metrics = Metrics()
        self.measure: Measurement = measure_windows(source, plan, self.fetcher, clock, self.metrics)


@pytest.fixture
def past(site: Site, tmp_path: Path) -> Iterator[MeasuredFetcher]:
    """One day, of which one document is valid, one is broken, and one does not exist."""
    site.pages[f"/cards/{DAY:%Y%m%d}.json"] = body("cards", [event(1)])
    site.pages[f"/looks/{DAY:%Y%m%d}.json"] = b"{"
    measured = MeasuredFetcher(site, tmp_path, FetchPlan(DAY, DAY), SettableClock(NOON + timedelta(days=3)))
    yield measured
    measured.fetcher.close()


def test_windows_are_counted_by_state(past: MeasuredFetcher) -> None:
    past.driver.until_exhausted()

    past.measure(None)  # type: ignore[arg-type]  # it reads no table

    assert values(past.metrics) == {"due": 0, "done": 1, "failed": 1, "missing": 1, "suspect": 0, "expected": 0}


def test_a_fetcher_on_standby_has_no_values(past: MeasuredFetcher) -> None:
    """It is paused or on standby."""
    past.measure(None)  # type: ignore[arg-type]

    assert values(past.metrics) == {}


def test_a_document_is_expected_while_the_current_day_is_followed(site: Site, tmp_path: Path) -> None:
    clock = SettableClock()
    measured = MeasuredFetcher(site, tmp_path, FetchPlan(DAY, follow=True), clock)
    measured.driver.step(0)

    measured.measure(None)  # type: ignore[arg-type]
    measured.fetcher.close()

    assert values(measured.metrics)["expected"] == 1
