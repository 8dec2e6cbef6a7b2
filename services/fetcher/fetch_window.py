"""Fetches one window: gets its document, archives it and splits it into records. Errors are part of the outcome."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec
import structlog

from services.fetcher.capture import AnotherDay, Capture
from services.fetcher.planning.cursor import Cursor
from services.fetcher.planning.windows import Due
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import Absence, Document, DocumentSource
from shared.broker.contract import NewRecord
from shared.errors import InvalidDocument, TransientError
from shared.logs import mask_text
from shared.retry import Retry

# In characters. The cause is stored in the window's cursor and shown in lists.
LONGEST_CAUSE = 500
EXPECTED = (InvalidDocument, TransientError)


class Keeper(Protocol):
    """Where fetched documents are stored: the archive of raw documents."""

    def put(self, document: Document) -> None: ...


class Visited(NamedTuple):
    """The outcome of a fetch. `changed`: the cursor must be committed; otherwise it only saves work in the next fetch.

    `absent`: there is no document of this day yet.
    """

    due: Due
    cursor: Cursor
    records: list[NewRecord]
    changed: bool
    absent: bool = False


class Visit:
    """Callable from several threads, but not for the same window at the same time."""

    def __init__(self, source: Source, documents: DocumentSource, archive: Keeper, retry: Retry) -> None:
        self._captures = {feed.name: Capture(source, feed) for feed in source.feeds}
        self._documents = documents
        self._archive = archive
        self._retry = retry
        self._log = structlog.get_logger()

    def __call__(self, due: Due, cursor: Cursor) -> Visited:
        """Never raises an Exception: every error, MemoryError included, becomes the cause of a failed window.

        An error that ended the process would occur at every restart, because the window would still be due.
        """
        # An entity tag belongs to an address. A historical window has another address than the current day.
        etag = None if due.historical else cursor.etag
        try:
            fetched = self._retry.call(self._documents.fetch, due, etag)
            if isinstance(fetched, Absence):
                return _nothing_new(due, cursor, absent=fetched is Absence.NOT_PUBLISHED)
            return self._captured(due, cursor, fetched)
        except Exception as error:  # noqa: BLE001 - see above
            if not isinstance(error, EXPECTED):
                self._log.warning("window_fetch_raised", feed=due.window.feed, day=str(due.window.date), exc_info=True)
            return Visited(due, cursor.failed(cause_of(error)), [], changed=True)

    def _captured(self, due: Due, cursor: Cursor, document: Document) -> Visited:
        known = document.hash == cursor.document
        if known and not due.historical:
            return _nothing_new(due, msgspec.structs.replace(cursor, etag=document.etag))
        self._archive.put(document)
        closing = due.historical and bool(cursor.seen) and cursor.state != "done"
        try:
            captured = self._captures[due.window.feed](document, cursor.seen, closing)
        except AnotherDay:
            if due.historical:
                raise
            # The address of the current day serves the previous day until the first publication.
            return _nothing_new(due, msgspec.structs.replace(cursor, etag=document.etag), absent=True)
        after = Cursor(
            state="done" if due.historical else "live",
            document=document.hash,
            etag=document.etag,
            fetched_at=document.fetched_at,
            seen=captured.seen,
        )
        return Visited(due, after, captured.records + captured.rejected, changed=True)


def cause_of(error: Exception) -> str:
    """The cause of a failed window: at most MAX_CAUSE_CHARS characters, secrets masked, with the type of an unexpected
    error."""
    text = str(error) if isinstance(error, EXPECTED) else f"unexpected {type(error).__name__}: {error}"
    # The encoder of cursors refuses lone surrogates.
    return mask_text(text).encode(errors="replace").decode()[:LONGEST_CAUSE]


def _nothing_new(due: Due, cursor: Cursor, absent: bool = False) -> Visited:
    """The outcome of a fetch without new content. It clears the failure of a window that had failed."""
    if cursor.state == "failed":
        return Visited(due, cursor.well_again(), [], changed=True, absent=absent)
    return Visited(due, cursor, [], changed=False, absent=absent)
