"""Fetcher: a declared source in, raw-events and an archive of raw documents out."""

from __future__ import annotations

import sys

from services.fetcher.archive import DocumentArchive
from services.fetcher.archive_source import ArchiveSource
from services.fetcher.counted import CountedSource
from services.fetcher.documents import DocumentSource
from services.fetcher.fetch import Fetcher
from services.fetcher.http_source import HttpSource
from services.fetcher.settings import FetcherSettings
from services.fetcher.source_file import load_source
from services.fetcher.windows import Plan
from shared.clock import Clock
from shared.errors import ConfigError
from shared.runtime.metrics import Metrics
from shared.runtime.run import launch
from shared.runtime.service import Polling, Service, serving
from shared.topics import FETCHER_CURSORS, RAW

# What is recorded in the archives that `--source archive` reads.
RECORDED = "boatrace"


def fetcher_of(settings: FetcherSettings, clock: Clock, metrics: Metrics) -> Fetcher:
    """Raises ConfigError where the source is not declared, or its archive is not there."""
    options = settings.fetcher
    recorded = options.source == "archive"
    source = load_source(RECORDED if recorded else options.source)
    first, last = options.from_date, options.to_date
    documents: DocumentSource
    if recorded:
        if options.archive_dir is None:
            raise ConfigError("source `archive` needs fetcher.archive_dir (headrace run --archive DIR)")
        documents = archive = ArchiveSource(source, options.archive_dir, clock)
        if first is None or last is None:
            found = archive.days()
            first, last = first or found[0], last or found[1]
    else:
        source = source.at(options.base_url) if options.base_url else source
        documents = HttpSource(source, clock)
    plan = Plan(first, last, follow=options.follow and not recorded, recorded=recorded)
    counted = CountedSource(documents, lambda came: metrics.fetch_requests_total.labels(source.name, came).inc())
    kept = DocumentArchive(settings.data_dir / "archive")
    return Fetcher(
        source, counted, kept, plan, clock, threads=options.threads, batch_records=options.batch_records
    )  # fmt: skip


def wire(settings: FetcherSettings, metrics: Metrics) -> Service:
    fetcher = fetcher_of(settings, settings.clock.clock(), metrics)
    return Service(Polling(fetcher, RAW, FETCHER_CURSORS), detail=fetcher.status, close=fetcher.close)


if __name__ == "__main__":
    sys.exit(launch(FetcherSettings, serving(wire)))
