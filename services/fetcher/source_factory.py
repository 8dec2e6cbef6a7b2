"""Builds the source, the plan and the fetcher that the settings describe."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from services.fetcher.archive.source import KeptSource
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.planning.windows import Plan, day_at
from services.fetcher.settings import Fetcher as Options
from services.fetcher.settings import FetcherSettings
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import DocumentSource
from services.fetcher.sources.http import HttpSource
from services.fetcher.sources.metered import CountedSource
from services.fetcher.sources.recorded_files import ArchiveSource
from services.fetcher.sources.yaml_file import load_source
from shared.clock import Clock
from shared.errors import ConfigError

ARCHIVE = "archive"
# The source of an archive that does not name one.
RECORDED = "boatrace"

Count = Callable[[str, str], None]
"""Called with the source's name and the answer to a request (sources/metered.py)."""


class Chosen(NamedTuple):
    """A source, its plan, the fetcher (or the reader of an archive of raw documents) that carries it out, and the
    archive of its documents."""

    source: Source
    plan: Plan
    pollable: Fetcher | KeptSource
    archive: DocumentArchive


def chosen(settings: FetcherSettings, clock: Clock, count: Count) -> Chosen:
    """Raises ConfigError if the source is not declared or its archive does not exist."""
    options = settings.fetcher
    if options.source != ARCHIVE:
        source = load_source(options.source)
        source = source.at(options.base_url) if options.base_url else source
        plan = Plan(options.from_date, _last(options, source), follow=options.follow)
        return _fetching(settings, source, plan, HttpSource(source, clock), clock, count)
    if options.archive_dir is None:
        raise ConfigError("source `archive` needs fetcher.archive_dir: set it, or run `headrace run --archive DIR`")
    kept = DocumentArchive(options.archive_dir)
    if kept.exists():
        source = load_source(_named(kept, options.archive_dir))
        last = _last(options, source)
        retelling = KeptSource(source, kept, clock, options.from_date, last, options.batch_records)
        first_day, last_day = options.from_date or date.min, last or date.max
        return Chosen(source, Plan(first_day, last_day, recorded=True), retelling, kept)
    source = load_source(RECORDED)
    recorded = ArchiveSource(source, options.archive_dir, clock)
    first, last = options.from_date, _last(options, source)
    if first is None or last is None:
        found = recorded.days()
        first, last = first or found[0], last or found[1]
    return _fetching(settings, source, Plan(first, last, recorded=True), recorded, clock, count)


def _fetching(
    settings: FetcherSettings, source: Source, plan: Plan, documents: DocumentSource, clock: Clock, count: Count
) -> Chosen:
    counted = CountedSource(documents, lambda came: count(source.name, came))
    kept = DocumentArchive(settings.data_dir / "archive", source.name)
    options = settings.fetcher
    fetcher = Fetcher(source, counted, kept, plan, clock, threads=options.threads, batch_records=options.batch_records)
    return Chosen(source, plan, fetcher, kept)


def _last(options: Options, source: Source) -> date | None:
    """The last day to fetch, at most the day of `as_of`."""
    as_of: datetime | None = options.as_of
    if as_of is None:
        return options.to_date
    day = day_at(as_of, source.zone)
    return day if options.to_date is None else min(day, options.to_date)


def _named(kept: DocumentArchive, folder: Path) -> str:
    """The name of the source whose documents are in the archive. Raises ConfigError unless there is exactly one."""
    names = sorted({line.source or RECORDED for line in kept.documents()})
    if len(names) != 1:
        found = ", ".join(names) or "no document"
        raise ConfigError(f"{folder}: expected the documents of one source, found {found}")
    return names[0]
