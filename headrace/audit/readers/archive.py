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

import msgspec

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.capture import AnotherDay, Capture
from services.fetcher.planning.cursor import Cursor, Version, decode
from services.fetcher.planning.windows import window_of
from services.fetcher.sources.declaration import REFERENCE, Source
from services.fetcher.sources.documents import Document, IndexLine
from shared.broker.contract import NewRecord
from shared.errors import InvalidDocument
from shared.events import as_utc_ms

Seen = dict[str, Version]


class Origin(NamedTuple):
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
class Origins:
    """Records by event_id. `windows` counts windows whose documents were captured again; `unfollowed` counts windows
    whose source is not declared here."""

    records: dict[str, Origin] = field(default_factory=dict)
    unarchived: list[Unarchived] = field(default_factory=list)
    windows: int = 0
    unfollowed: int = 0


class _Walk(NamedTuple):
    """The result of capturing a window's documents: the versions seen, and the records by event_id."""

    seen: Seen
    origins: list[tuple[str, Origin]]


def read_origins(
    folder: Path,
    cursors: Mapping[str, bytes],
    sources: Mapping[str, Source],
    days: tuple[date | None, date | None],
    known: Container[str],
) -> Origins:
    """`known`: event_ids found in any other place. The cursors must be read before the archive and before `known`."""
    archive, lines = DocumentArchive(folder), _lines_by_window(folder)
    found = Origins()
    for key, value in cursors.items():
        name, _, rest = key.partition("/")
        if rest.startswith(f"{REFERENCE}/"):
            continue
        source = sources.get(name)
        window = source and window_of(key, name)
        if source is None or window is None or window.feed not in {feed.name for feed in source.feeds}:
            found.unfollowed += 1
        elif (days[0] is None or days[0] <= window.date) and (days[1] is None or window.date <= days[1]):
            found.windows += 1
            follow = _Follow(archive, Capture(source, source.feed(window.feed)), known)
            ours = [line for line in lines[window.feed, window.date] if line.source in {None, name}]
            walk, problem = follow(ours, decode(value))
            found.records |= walk.origins
            if problem:
                found.unarchived.append(Unarchived(key, problem))
    return found


class _Follow:
    """Captures the documents of one window again, in order."""

    def __init__(self, archive: DocumentArchive, capture: Capture, known: Container[str]) -> None:
        self._archive = archive
        self._capture = capture
        self._known = known

    def __call__(self, lines: Sequence[IndexLine], cursor: Cursor) -> tuple[_Walk, str | None]:
        """The records, and the fault of the archive if the cursor is not reached. Tries all documents first, then only
        those of which some record is known."""
        documents = [document for line in lines if (document := self._document(line)) is not None]
        closed = [*documents, *_last_as_history(documents, cursor)]
        for taken, skip_unknown in ((documents, False), (closed, False), (documents, True)):
            walk = self._walk(taken, cursor.seen, skip_unknown)
            if walk is not None:
                return walk, None
        lost = sorted({line.hash for line in lines} - {document.hash for document in documents})
        if cursor.document and cursor.document not in {document.hash for document in documents}:
            lost = [cursor.document, *(each for each in lost if each != cursor.document)]
        if lost:
            return _Walk({}, []), f"the archive does not hold document {', '.join(lost[:3])}"
        return _Walk({}, []), "the archived documents do not lead to the versions in the fetcher's cursor"

    def _document(self, line: IndexLine) -> Document | None:
        try:
            body = self._archive.read(line.hash)
        except InvalidDocument:
            return None
        return Document(line.feed, line.date, line.url, body, line.fetched_at, line.published_at, None, line.historical)

    def _walk(self, documents: Sequence[Document], target: Seen, skip_unknown: bool) -> _Walk | None:
        """Capture documents until the target versions are reached; None if they never are."""
        seen: Seen = {}
        origins: list[tuple[str, Origin]] = []
        reached = 0 if not target else None
        closed = False
        for document in documents:
            closing = document.historical and bool(seen) and not closed
            try:
                captured = self._capture(document, seen, closing)
            except (AnotherDay, InvalidDocument):
                continue  # the visit failed, or the document was of the day before: it gave no records
            made = [*self._origins(document, captured.records), *self._origins(document, captured.rejected, True)]
            if skip_unknown and made and not any(event_id in self._known for event_id, _ in made):
                continue
            seen, closed = captured.seen, document.historical
            origins += made
            if seen == target:
                reached = len(origins)
        return None if reached is None else _Walk(seen, origins[:reached])

    def _origins(
        self, document: Document, records: Sequence[NewRecord], rejected: bool = False
    ) -> Iterator[tuple[str, Origin]]:
        fetched_ms = as_utc_ms(document.fetched_at)
        for record in records:
            event_id = sys.intern(record.headers["event_id"].decode())
            value = None if event_id in self._known else record.value
            yield event_id, Origin(record.key.decode(), value, fetched_ms, rejected)


def _last_as_history(documents: Sequence[Document], cursor: Cursor) -> list[Document]:
    """The last document once more, as historical. Older versions wrote no index line when the last live document was
    fetched again as historical."""
    last = documents[-1] if documents else None
    if last is None or last.historical or cursor.state != "done" or cursor.document != last.hash:
        return []
    return [replace(last, historical=True)]


def _lines_by_window(folder: Path) -> Mapping[tuple[str, date], list[IndexLine]]:
    """The lines of the index by feed and date, including lines of deleted documents; equal neighbours are merged."""
    lines: dict[tuple[str, date], list[IndexLine]] = defaultdict(list)
    index = folder / "index.jsonl"
    for text in index.read_bytes().splitlines() if index.exists() else ():
        try:
            line = msgspec.json.decode(text, type=IndexLine)
        except msgspec.DecodeError:
            continue  # a line that a crash truncated
        window = lines[line.feed, line.date]
        if not window or (window[-1].hash, window[-1].historical) != (line.hash, line.historical):
            window.append(line)
    return lines
