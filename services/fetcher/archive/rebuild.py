"""The archive's documents told once more: the records that they gave when they came, in the same order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import NamedTuple

from services.fetcher.capture import AnotherDay, Capture
from services.fetcher.fetch_window import cause_of
from services.fetcher.planning.cursor import Cursor
from services.fetcher.planning.windows import Window
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import Document, IndexLine
from shared.broker.contract import NewRecord

Read = Callable[[str], bytes]
"""The body of a document by its hash; raises InvalidDocument where it is missing or damaged."""


class Retold(NamedTuple):
    """A window's whole history: all of its records, and the cursor that it leaves, done or failed."""

    window: Window
    records: list[NewRecord]
    cursor: Cursor


def histories(
    lines: Iterable[IndexLine], source: Source, first: date | None = None, last: date | None = None
) -> dict[Window, list[IndexLine]]:
    """The lines of each window of these days, in date order and within a day in the order the feeds are declared."""
    order = {feed.name: number for number, feed in enumerate(source.feeds)}
    found: dict[Window, list[IndexLine]] = defaultdict(list)
    for line in lines:
        ours = line.source in {None, source.name} and line.feed in order
        if ours and (first is None or line.date >= first) and (last is None or line.date <= last):
            found[Window(line.feed, line.date)].append(line)
    return {window: found[window] for window in sorted(found, key=lambda each: (each.date, order[each.feed]))}


class Retelling:
    """Splits documents as they were split when they came (fetch_window.py), so ids come out the same."""

    def __init__(self, source: Source, read: Read) -> None:
        self._captures = {feed.name: Capture(source, feed) for feed in source.feeds}
        self._read = read

    def __call__(self, window: Window, lines: Sequence[IndexLine]) -> Retold:
        """Never raises an Exception: a document that cannot be read fails its window, the rest of it is told."""
        cursor, records, error = Cursor(), [], None
        for line in lines:
            try:
                told, cursor = self._one(line, cursor)
            except Exception as problem:  # noqa: BLE001 - as in a visit
                error = cause_of(problem)
            else:
                records += told
        if error is not None:
            return Retold(window, records, cursor.failed(error))
        return Retold(window, records, Cursor("done", cursor.document, None, cursor.fetched_at, seen=cursor.seen))

    def _one(self, line: IndexLine, before: Cursor) -> tuple[list[NewRecord], Cursor]:
        body, instants = self._read(line.hash), (line.fetched_at, line.published_at)
        document = Document(line.feed, line.date, line.url, body, *instants, historical=line.historical)
        closing = line.historical and bool(before.seen) and before.state != "done"
        try:
            captured = self._captures[line.feed](document, before.seen, closing)
        except AnotherDay:
            if line.historical:
                raise
            return [], before  # the running day's address showed the day before
        after = Cursor("done" if line.historical else "live", document.hash, None, line.fetched_at, seen=captured.seen)
        return captured.records + captured.rejected, after
