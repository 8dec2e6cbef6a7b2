"""Builds the source, the plan and the fetcher that the settings describe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from services.fetcher.archive.rejected import RejectedResponses
from services.fetcher.archive.source import ArchivedSource
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.gate.gated_source import GatedSource, Surroundings
from services.fetcher.gate.postgres_gate import PostgresGate
from services.fetcher.gate.waits import Waits
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.windows import FetchPlan, day_at
from services.fetcher.settings import FetcherSection as Options
from services.fetcher.settings import FetcherSettings
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import DocumentSource
from services.fetcher.sources.metered import MeteredSource
from services.fetcher.sources.recorded_files import RecordedFileSource
from services.fetcher.sources.yaml_file import load_source
from services.fetcher.steady_clock import SteadyClock
from shared.clock import Clock
from shared.errors import ConfigError

ARCHIVE = "archive"
REFUSED_DATE = "date"
"""Why a Last-Modified is not used: the time cannot be true. The other reasons are those of `Refusal`."""
# The source of an archive that does not name one.
DEFAULT_ARCHIVE_SOURCE = "boatrace"

# Longer than a request lasts at most, by the time limit of the source.
LEASE_MARGIN_S = 10.0

CountAnswer = Callable[[str, str], None]
"""Called with the source's name and the answer to a request (sources/metered.py), or why it was refused."""


class SourceSetup(NamedTuple):
    """A source, its plan, the fetcher (or the reader of an archive of raw documents) that carries it out, and the
    archive of its documents."""

    source: Source
    plan: FetchPlan
    pollable: Fetcher | ArchivedSource
    archive: DocumentArchive


def set_up_source(
    settings: FetcherSettings, clock: Clock, count: CountAnswer, count_refusal: CountAnswer, waits: Waits
) -> SourceSetup:
    """`count_refusal` is called with the source's name and why a response or a header was refused.

    Raises ConfigError if the source is not declared or its archive does not exist.
    """
    options = settings.fetcher
    if options.source != ARCHIVE:
        source = load_source(options.source)
        source = source.with_base_url(options.base_url) if options.base_url else source
        plan = FetchPlan(options.from_date, _last_day(options, source), follow=options.follow)
        fetched = _http_source(source, clock, lambda: count_refusal(source.name, REFUSED_DATE))
        documents = _gated(settings, source, _metered(fetched, source, count), clock, waits)
        return _fetching_setup(settings, source, plan, documents, clock, count_refusal)
    if options.archive_dir is None:
        raise ConfigError("source `archive` needs fetcher.archive_dir: set it, or run `headrace run --archive DIR`")
    archive = DocumentArchive(options.archive_dir)
    if archive.exists():
        source = load_source(_source_name(archive, options.archive_dir))
        archive = DocumentArchive(options.archive_dir, max_body_bytes=source.http.max_body_bytes)
        last = _last_day(options, source)
        archived = ArchivedSource(source, archive, clock, options.from_date, last, options.batch_records)
        first_day, last_day = options.from_date or date.min, last or date.max
        return SourceSetup(source, FetchPlan(first_day, last_day, recorded=True), archived, archive)
    source = load_source(DEFAULT_ARCHIVE_SOURCE)
    recorded = RecordedFileSource(source, options.archive_dir, clock)
    first, last = options.from_date, _last_day(options, source)
    if first is None or last is None:
        span = recorded.day_range()
        first, last = first or span[0], last or span[1]
    metered = _metered(recorded, source, count)
    return _fetching_setup(settings, source, FetchPlan(first, last, recorded=True), metered, clock, count_refusal)


def _metered(documents: DocumentSource, source: Source, count: CountAnswer) -> MeteredSource:
    return MeteredSource(documents, lambda status: count(source.name, status))


def _gated(
    settings: FetcherSettings, source: Source, documents: DocumentSource, clock: Clock, waits: Waits
) -> GatedSource:
    gate = PostgresGate(settings.database.conninfo("headrace fetcher gate"), source.host, source.host_budget)
    stopping = threading.Event()
    surroundings = Surroundings(
        clock, stopping.wait, stopping.set, time.monotonic, new_id=lambda: uuid4().hex, waits=waits
    )
    return GatedSource(documents, gate, source.http.total_timeout_s + LEASE_MARGIN_S, surroundings)


def _http_source(source: Source, clock: Clock, count_refused_date: Callable[[], None]) -> HttpSource:
    if isinstance(clock, SteadyClock):
        return HttpSource(
            source, clock, count_refused_date=count_refused_date, record_server_time=clock.record_server_time
        )
    return HttpSource(source, clock, count_refused_date=count_refused_date)


def _fetching_setup(
    settings: FetcherSettings,
    source: Source,
    plan: FetchPlan,
    documents: DocumentSource,
    clock: Clock,
    count_refusal: CountAnswer,
) -> SourceSetup:
    archive = DocumentArchive(settings.archive, source.name, max_body_bytes=source.http.max_body_bytes)
    options = settings.fetcher
    rejected = RejectedResponses(settings.archive, lambda reason: count_refusal(source.name, reason))
    fetcher = Fetcher(
        source,
        documents,
        archive,
        plan,
        clock,
        threads=options.threads,
        batch_records=options.batch_records,
        rejected=rejected,
    )
    return SourceSetup(source, plan, fetcher, archive)


def _last_day(options: Options, source: Source) -> date | None:
    """The last day to fetch, at most the day of `as_of`."""
    as_of: datetime | None = options.as_of
    if as_of is None:
        return options.to_date
    day = day_at(as_of, source.zone)
    return day if options.to_date is None else min(day, options.to_date)


def _source_name(archive: DocumentArchive, folder: Path) -> str:
    """The name of the source whose documents are in the archive. Raises ConfigError unless there is exactly one."""
    names = sorted({line.source or DEFAULT_ARCHIVE_SOURCE for line in archive.documents()})
    if len(names) != 1:
        named = ", ".join(names) or "no document"
        raise ConfigError(f"{folder}: expected the documents of one source, found {named}")
    return names[0]
