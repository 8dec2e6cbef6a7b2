"""Reads a folder of dated files as facts, without services and without a database.

It uses the pipeline's own pure parts (the declared source, `Capture`, the cleaner, the loader's `known_at` rule), so
that a model trains on the same facts as from the loader's tables of the same files.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import structlog
from pydantic import ValidationError

from headrace.backtest.archive_facts import ReportedFacts, event_of, mark_postponed
from services.cleaner.clean import Filtered, clean
from services.fetcher.capture import Capture
from services.fetcher.planning.coverage import coverage_of, coverage_text
from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import Absence, Document
from services.fetcher.sources.recorded_files import RecordedFileSource
from services.fetcher.sources.yaml_file import load_source
from services.loader.fact_tree import FactEvent
from services.predictor.data.events import EventFacts
from services.predictor.data.profile import BOATRACE, Profile
from services.predictor.storage.interface import gc_disabled
from shared.broker.contract import NewRecord
from shared.clock import SystemClock
from shared.errors import ConfigError, InvalidDocument, InvalidEvent, TransientError
from shared.events import MESSAGE_TYPES, Reference
from shared.ops import dead_letters
from shared.records import reason_of

ReportProblem = Callable[[str], None]
"""Reports, in one sentence, input that could not be used. Reading continues."""

_RAW = MESSAGE_TYPES["raw-event/1"]
_log = structlog.get_logger("headrace")


def log_problem(problem: str) -> None:
    _log.warning("archive_input_skipped", problem=problem)


def recorded_days(folder: Path, source_name: str = "boatrace") -> list[date]:
    """Every day that has a file, in order. Raises ConfigError that names the expected files."""
    return _open_archive(load_source(source_name), folder).recorded_days()


def read_archive(
    folder: Path,
    source_name: str = "boatrace",
    first: date | None = None,
    last: date | None = None,
    profile: Profile = BOATRACE,
    on_problem: ReportProblem = log_problem,
) -> list[EventFacts]:
    """Every event on a card of the days `first` to `last` (inclusive; None: no bound), by scheduled time, then by key;
    events without a scheduled time come last.

    Files after `last` are not read, so an event cancelled on the last days cannot be recognised as postponed. Days
    without any file are reported to `on_problem`.
    Raises ConfigError if the folder is not an archive of the source, or has none of the requested days.
    """
    source = load_source(source_name)
    archive = _open_archive(source, folder)
    available_days = archive.recorded_days()
    first, last = first or available_days[0], last or available_days[-1]
    days = [day for day in available_days if first <= day <= last]
    if not days:
        raise ConfigError(
            f"the archive {folder} has no file of these days: it has {available_days[0]} to {available_days[-1]}"
        )
    coverage = coverage_of(first, last, set(days))
    if coverage["missing"]:
        on_problem(f"days that have a file: {coverage_text(coverage)}")
    with gc_disabled():
        return _ArchiveReader(source, archive, profile, on_problem).read_days(days[0], days[-1])


class _ArchiveReader:
    """Reads an archive day by day: all facts of an event are in the files of its day."""

    def __init__(
        self, source: Source, archive: RecordedFileSource, profile: Profile, on_problem: ReportProblem
    ) -> None:
        self._archive = archive
        self._captures = {feed.name: Capture(source, feed) for feed in source.feeds}
        self._profile = profile
        self._on_problem = on_problem
        self._absent: dict[str, list[date]] = defaultdict(list)
        self._cards: dict[str, str] = {}

    def read_days(self, first: date, last: date) -> list[EventFacts]:
        days = [date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1)]
        events = [event for day in days for event in self._events(day)]
        for feed, missing in self._absent.items():
            self._on_problem(f"{feed}: no file for {len(missing)} of {len(days)} days, the first is {missing[0]}")
        return sorted(mark_postponed(events, self._cards), key=_start_order)

    def _events(self, day: date) -> Iterator[EventFacts]:
        for event_key, facts in self._facts_by_event(day).items():
            try:
                event = event_of(facts, self._profile)
            except InvalidEvent as error:
                self._on_problem(str(error))
                continue
            if event is None:
                self._on_problem(f"{event_key}: skipped, because it is on no card")
                continue
            if facts.listed is not None and facts.listed.card_key is not None:
                self._cards[event_key] = facts.listed.card_key
            yield event

    def _facts_by_event(self, day: date) -> dict[str, ReportedFacts]:
        facts: dict[str, ReportedFacts] = defaultdict(ReportedFacts)
        for document in self._documents(day):
            try:
                for record in self._raw_records(document):
                    fact = self._clean(document, record)
                    if fact is not None:
                        facts[fact.event_key].add(fact)
            except InvalidDocument as error:
                self._on_problem(str(error))
        return facts

    def _documents(self, day: date) -> Iterator[Document]:
        absent = []
        for feed in self._captures:
            try:
                document = self._archive.fetch(DueWindow(Window(feed, day), historical=True), None)
            except (InvalidDocument, TransientError) as error:
                self._on_problem(str(error))
                continue
            if isinstance(document, Absence):
                absent.append(feed)
            else:
                yield document
        if len(absent) < len(self._captures):  # days without any file are reported for all feeds at once
            for feed in absent:
                self._absent[feed].append(day)

    def _raw_records(self, document: Document) -> list[NewRecord]:
        captured = self._captures[document.feed](document, {})
        for rejected in captured.dead_letters:
            self._on_problem(rejected.headers[dead_letters.MESSAGE].decode())
        return captured.records

    def _clean(self, document: Document, record: NewRecord) -> FactEvent | None:
        try:
            # Parse the JSON as the cleaner does: another parser could read the same number as another type.
            fact = clean(_RAW.validate_json(record.value))
        except InvalidEvent as error:
            self._on_problem(f"{document.url}: {error}")
            return None
        except ValidationError as error:
            self._on_problem(f"{document.url}: {reason_of(error)}")
            return None
        return None if isinstance(fact, Filtered | Reference) else fact


def _open_archive(source: Source, folder: Path) -> RecordedFileSource:
    return RecordedFileSource(source, folder, SystemClock())


def _start_order(event: EventFacts) -> tuple[float, str]:
    return math.inf if event.scheduled_us is None else event.scheduled_us, event.event_key
