"""Rebuilds a window's records from its archived documents: the same records in the same order as when fetched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import NamedTuple

from services.fetcher.capture import Capture, WrongDay
from services.fetcher.fetch_window import cause_of
from services.fetcher.planning.cursor import WindowCursor
from services.fetcher.planning.windows import Window
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import Document, IndexLine
from shared.broker.contract import NewRecord

ReadDocument = Callable[[str], bytes]
"""Returns the body of a document by its hash. Raises InvalidDocument if it is missing or damaged."""


class Rebuilt(NamedTuple):
    """All records of a window, and its final cursor, done or failed."""

    window: Window
    records: list[NewRecord]
    cursor: WindowCursor


def lines_by_window(
    lines: Iterable[IndexLine], source: Source, first: date | None = None, last: date | None = None
) -> dict[Window, list[IndexLine]]:
    """The index lines of each window, by date and then in the order of the declared feeds.

    `first` and `last` limit the days, inclusive; None leaves an end open.
    """
    order = {feed.name: number for number, feed in enumerate(source.feeds)}
    by_window: dict[Window, list[IndexLine]] = defaultdict(list)
    for line in lines:
        matches = line.source in {None, source.name} and line.feed in order
        if matches and (first is None or line.date >= first) and (last is None or line.date <= last):
            by_window[Window(line.feed, line.date)].append(line)
    return {window: by_window[window] for window in sorted(by_window, key=lambda each: (each.date, order[each.feed]))}


class Recapture:
    """Splits archived documents exactly as fetch_window.py did, so that the event ids are the same."""

    def __init__(self, source: Source, read: ReadDocument) -> None:
        self._captures = {feed.name: Capture(source, feed) for feed in source.feeds}
        self._read = read

    def __call__(self, window: Window, lines: Sequence[IndexLine]) -> Rebuilt:
        """Never raises an Exception. A document that cannot be read fails its window; the other documents still give
        their records."""
        cursor, records, error = WindowCursor(), [], None
        for line in lines:
            try:
                new_records, cursor = self._capture_line(line, cursor)
            except Exception as problem:  # noqa: BLE001 - as in FetchWindow
                error = cause_of(problem)
            else:
                records += new_records
        if error is not None:
            return Rebuilt(window, records, cursor.as_failed(error))
        done = WindowCursor(state="done", document=cursor.document, fetched_at=cursor.fetched_at, seen=cursor.seen)
        return Rebuilt(window, records, done)

    def _capture_line(self, line: IndexLine, before: WindowCursor) -> tuple[list[NewRecord], WindowCursor]:
        body, instants = self._read(line.hash), (line.fetched_at, line.published_at)
        document = Document(line.feed, line.date, line.url, body, *instants, historical=line.historical)
        closing = line.historical and bool(before.seen) and before.state != "done"
        try:
            captured = self._captures[line.feed](document, before.seen, closing)
        except WrongDay:
            if line.historical:
                raise
            return [], before  # the `today` address still served the previous day
        after = WindowCursor(
            state="done" if line.historical else "live",
            document=document.hash,
            fetched_at=line.fetched_at,
            seen=captured.versions,
        )
        dead_letters = self._captures[line.feed].new_dead_letters(captured, document, before.document, self._read)
        return captured.records + dead_letters, after
