"""Reads from the archive of raw documents which records were fetched, by capturing each window's documents again.

A document may be archived although its records were never written: the fetcher died in between and fetched it again.
The window's cursor tells which documents were processed: capturing them must lead to the cursor's version of every
event.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

from services.fetcher.archive.index import INDEX, index_lines
from services.fetcher.archive.retention import removed_windows
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.capture import Capture, CaptureResult, WrongDay, versions_of_events
from services.fetcher.planning.cursor import SliceVersion, WindowCursor, decode
from services.fetcher.planning.windows import window_of
from services.fetcher.sources.declaration import REFERENCE, Source
from services.fetcher.sources.documents import Document, IndexLine
from shared.broker.contract import NewRecord
from shared.errors import InvalidDocument
from shared.events import as_utc_ms

SeenVersions = dict[str, SliceVersion]


class FetchedRecord(NamedTuple):
    """A record that the fetcher made from a document. `value`: None if the record was found elsewhere too.
    `fetched_ms`: by the fetcher's clock."""

    key: str
    value: bytes | None
    fetched_ms: int
    rejected: bool


class Unarchived(NamedTuple):
    """A window whose cursor implies documents that the archive does not hold."""

    window: str
    detail: str


@dataclass
class FetchedRecords:
    """Records by event_id. `windows` counts windows whose documents were captured again; `unfollowed` counts windows
    whose source is not declared here, `removed` those whose documents retention removed."""

    records: dict[str, FetchedRecord] = field(default_factory=dict)
    unarchived: list[Unarchived] = field(default_factory=list)
    windows: int = 0
    unfollowed: int = 0
    removed: int = 0


class _Capture(NamedTuple):
    """The result of capturing a window's documents: the versions seen, and the records by event_id."""

    seen: SeenVersions
    origins: list[tuple[str, FetchedRecord]]


def read_fetched_records(
    folder: Path,
    cursors: Mapping[str, bytes],
    sources: Mapping[str, Source],
    days: tuple[date | None, date | None],
    known: Container[str],
) -> FetchedRecords:
    """`known`: event_ids found in any other place. The cursors must be read before the archive and before `known`."""
    max_body_bytes = max((source.http.max_body_bytes for source in sources.values()), default=0)
    archive, lines = DocumentArchive(folder, max_body_bytes=max_body_bytes), _lines_by_window(folder)
    removed = {name: removed_windows(folder, source) for name, source in sources.items()}
    result = FetchedRecords()
    for key, value in cursors.items():
        name, _, rest = key.partition("/")
        if rest.startswith(f"{REFERENCE}/"):
            continue
        source = sources.get(name)
        window = source and window_of(key, name)
        if source is None or window is None or window.feed not in {feed.name for feed in source.feeds}:
            result.unfollowed += 1
        elif window in removed[name]:
            result.removed += 1
        elif (days[0] is None or days[0] <= window.date) and (days[1] is None or window.date <= days[1]):
            result.windows += 1
            reader = _WindowReader(archive, Capture(source, source.feed(window.feed)), known)
            window_lines = [line for line in lines[window.feed, window.date] if line.source in {None, name}]
            capture, problem = reader(window_lines, decode(value))
            result.records |= capture.origins
            if problem:
                result.unarchived.append(Unarchived(key, problem))
    return result


class _WindowReader:
    """Captures the documents of one window again, in order."""

    def __init__(self, archive: DocumentArchive, capture: Capture, known: Container[str]) -> None:
        self._archive = archive
        self._capture = capture
        self._known = known

    def __call__(self, lines: Sequence[IndexLine], cursor: WindowCursor) -> tuple[_Capture, str | None]:
        """The records, and the fault of the archive if the cursor is not reached. Tries all documents first, then only
        those of which some record is known."""
        documents = [document for line in lines if (document := self._document(line)) is not None]
        with_history = [*documents, *_last_as_historical(documents, cursor)]
        for candidates, skip_unknown in ((documents, False), (with_history, False), (documents, True)):
            capture = self._capture_until(candidates, versions_of_events(cursor.seen), skip_unknown)
            if capture is not None:
                return capture, None
        missing = sorted({line.hash for line in lines} - {document.hash for document in documents})
        if cursor.document and cursor.document not in {document.hash for document in documents}:
            missing = [cursor.document, *(each for each in missing if each != cursor.document)]
        if missing:
            return _Capture({}, []), f"the archive does not hold document {', '.join(missing[:3])}"
        return _Capture({}, []), "the archived documents do not lead to the versions in the fetcher's cursor"

    def _document(self, line: IndexLine) -> Document | None:
        try:
            body = self._archive.read(line.hash)
        except InvalidDocument:
            return None
        return Document(line.feed, line.date, line.url, body, line.fetched_at, line.published_at, None, line.historical)

    def _capture_until(
        self, documents: Sequence[Document], target: SeenVersions, skip_unknown: bool
    ) -> _Capture | None:
        """Capture documents until the target versions are reached; None if they never are."""
        seen: SeenVersions = {}
        origins: list[tuple[str, FetchedRecord]] = []
        reached_at = 0 if not target else None
        is_historical, previous = False, None
        for document in documents:
            closing = document.historical and bool(seen) and not is_historical
            try:
                captured = self._capture(document, seen, closing)
            except (WrongDay, InvalidDocument):
                continue  # the visit failed, or the document was of the day before: it gave no records
            records = [
                *self._origins(document, captured.records),
                *self._origins(document, self._new_dead_letters(captured, document, previous), True),
            ]
            if skip_unknown and records and not any(event_id in self._known for event_id, _ in records):
                continue
            seen, is_historical, previous = captured.versions, document.historical, document.hash
            origins += records
            if seen == target:
                reached_at = len(origins)
        return None if reached_at is None else _Capture(seen, origins[:reached_at])

    def _new_dead_letters(self, captured: CaptureResult, document: Document, previous: str | None) -> list[NewRecord]:
        return self._capture.new_dead_letters(captured, document, previous, self._archive.read)

    def _origins(
        self, document: Document, records: Sequence[NewRecord], rejected: bool = False
    ) -> Iterator[tuple[str, FetchedRecord]]:
        fetched_ms = as_utc_ms(document.fetched_at)
        for record in records:
            event_id = sys.intern(record.headers["event_id"].decode())
            value = None if event_id in self._known else record.value
            yield event_id, FetchedRecord(record.key.decode(), value, fetched_ms, rejected)


def _last_as_historical(documents: Sequence[Document], cursor: WindowCursor) -> list[Document]:
    """The last document once more, as historical. Older versions wrote no index line when the last live document was
    fetched again as historical."""
    last = documents[-1] if documents else None
    if last is None or last.historical or cursor.state != "done" or cursor.document != last.hash:
        return []
    return [replace(last, historical=True)]


def _lines_by_window(folder: Path) -> Mapping[tuple[str, date], list[IndexLine]]:
    """The lines of the index by feed and date, including lines of deleted documents; equal neighbours are merged."""
    lines: dict[tuple[str, date], list[IndexLine]] = defaultdict(list)
    for line in index_lines(folder / INDEX):
        window = lines[line.feed, line.date]
        if not window or (window[-1].hash, window[-1].historical) != (line.hash, line.historical):
            window.append(line)
    return lines
