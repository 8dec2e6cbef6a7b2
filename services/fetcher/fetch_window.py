"""Fetches one window: gets its document, splits it into records and archives it. Errors are part of the outcome.

A document is archived only if it could be split. A response that was refused is stored for a person to look at. If it
is a page that is no document, or the document of another day, the window is suspect (planning/wrong_documents.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import NamedTuple, Protocol

import msgspec
import structlog

from services.fetcher.capture import Capture, WrongDay
from services.fetcher.next_cursor import change_of, cursor_after, cursor_after_equal_answer
from services.fetcher.planning.cursor import WindowCursor, WrongDocument, WrongKind
from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.planning.wrong_documents import after_wrong_document, closes
from services.fetcher.planning_rules import closing_rules_of
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import (
    Absence,
    ArchiveUnavailable,
    Deferred,
    Document,
    DocumentSource,
    Refusal,
    RefusedResponse,
    SourceUnavailable,
)
from shared.broker.contract import NewRecord
from shared.clock import Clock, SystemClock
from shared.errors import InvalidDocument, TransientError
from shared.logs import mask_text
from shared.retry import Retry

# In characters. The cause is stored in the window's cursor and shown in lists.
MAX_CAUSE_CHARS = 500
EXPECTED_ERRORS = (InvalidDocument, TransientError, SourceUnavailable)
# 16 bytes of a hash distinguish the answers to one window.
HASH_CHARS = 32
# While documents cannot be stored, none is requested for this long.
ARCHIVE_RETRY_S = 5.0


class DocumentStore(Protocol):
    """Where fetched documents are stored: the archive of raw documents."""

    def put(self, document: Document) -> None:
        """Raises ArchiveUnavailable."""
        ...

    def sync(self) -> None:
        """Make all stored documents survive a power cut. Raises TransientError."""
        ...

    def read(self, hash_: str) -> bytes:
        """The body of a document. Raises InvalidDocument if it is missing or damaged."""
        ...


class RejectedStore(Protocol):
    """Where refused responses are stored."""

    def put(self, window: Window, error: RefusedResponse, at: datetime) -> str | None:
        """Returns where the response is, below the archive; None if it is not stored."""
        ...


class FetchOutcome(NamedTuple):
    """The outcome of a fetch. `changed`: the cursor must be committed; otherwise it only saves work in the next fetch.

    `absent`: there is no document of this day yet. `deferred_until`: no request may be made before this time, or the
    document could not be stored; the cursor is unchanged.
    """

    due: DueWindow
    cursor: WindowCursor
    records: list[NewRecord]
    changed: bool
    absent: bool = False
    deferred_until: datetime | None = None


class FetchWindow:
    """Callable from several threads, but not for the same window at the same time."""

    def __init__(
        self,
        source: Source,
        documents: DocumentSource,
        archive: DocumentStore,
        retry: Retry,
        rejected: RejectedStore | None = None,
        clock: Clock | None = None,
        is_over: Callable[[date], bool] = lambda _: True,
    ) -> None:
        """`is_over`: whether the documents of a day are final. It is asked again when a document has arrived, because
        the answer of the source may have shown that this machine's clock is wrong (steady_clock.py)."""
        self._is_over = is_over
        self._closing_rules = closing_rules_of(source)
        self._captures = {feed.name: Capture(source, feed) for feed in source.feeds}
        self._documents = documents
        self._archive = archive
        self._retry = retry
        self._rejected = rejected
        self._clock = clock or SystemClock()
        self._archive_retry_at: datetime | None = None
        self._log = structlog.get_logger()

    def __call__(self, due: DueWindow, cursor: WindowCursor) -> FetchOutcome:
        """Never raises an Exception: every error, MemoryError included, becomes the cause of a failed window.

        An error that ended the process would occur at every restart, because the window would still be due. A window
        whose document cannot be stored has not failed: it is due again soon.
        """
        if self._archive_retry_at is not None and self._clock.now() < self._archive_retry_at:
            return _deferred(due, cursor, self._archive_retry_at)
        try:
            return self._fetch(due, cursor)
        except Deferred as deferred:
            return _deferred(due, cursor, deferred.until)
        except ArchiveUnavailable as error:
            self._log.warning("archive_unavailable", cause=str(error), retry_s=ARCHIVE_RETRY_S)
            self._archive_retry_at = self._clock.now() + timedelta(seconds=ARCHIVE_RETRY_S)
            return _deferred(due, cursor, self._archive_retry_at)
        except Exception as error:  # noqa: BLE001 - see above
            if not isinstance(error, EXPECTED_ERRORS):
                self._log.warning("window_fetch_raised", feed=due.window.feed, day=str(due.window.date), exc_info=True)
            return self._failed(due, cursor, error)

    def _fetch(self, due: DueWindow, cursor: WindowCursor) -> FetchOutcome:
        # An entity tag belongs to an address. A historical window has another address than the current day.
        etag = cursor.etag if due.historical == (cursor.state == "done") else None
        answer = self._retry.call(self._documents.fetch, due, etag)
        if answer is Absence.UNCHANGED and due.historical:
            return self._repeated(due, cursor)
        if isinstance(answer, Absence):
            return _unchanged(due, cursor, absent=answer is Absence.NOT_PUBLISHED)
        return self._capture(due, cursor, answer)

    def _failed(self, due: DueWindow, cursor: WindowCursor, error: Exception) -> FetchOutcome:
        wrong = wrong_document_of(error, self._clock.now())
        if wrong is not None:
            wrong = after_wrong_document(cursor.wrong_document, wrong, self._closing_rules)
        has_document = cursor.state == "done" and cursor.document is not None
        if due.historical and wrong is not None and not has_document and closes(wrong, self._closing_rules):
            self._log.warning("window_closed_without_document", feed=due.window.feed, day=str(due.window.date))
            closed = cursor.as_closed_without_document(wrong, self._clock.now())
            return FetchOutcome(due, closed, [], changed=True)
        cause = cause_of(error, self._store_refused(due, error))
        return FetchOutcome(due, cursor.as_failed(cause, wrong), [], changed=True)

    def _store_refused(self, due: DueWindow, error: Exception) -> str | None:
        """Where the refused response is, below the archive."""
        if self._rejected is None or not isinstance(error, RefusedResponse):
            return None
        return self._rejected.put(due.window, error, self._clock.now())

    def _capture(self, due: DueWindow, cursor: WindowCursor, document: Document) -> FetchOutcome:
        unchanged = document.hash == cursor.document
        is_revisit = due.historical and cursor.state == "done" and cursor.document is not None
        if unchanged and not due.historical:
            return _unchanged(due, msgspec.structs.replace(cursor, etag=document.etag))
        if due.historical and not self._is_over(due.window.date):
            self._log.warning("window_not_over", feed=due.window.feed, day=str(due.window.date))
            return _unchanged(due, cursor, absent=True)
        if unchanged and is_revisit:
            self._archive.put(document)
            return self._repeated(due, msgspec.structs.replace(cursor, etag=document.etag))
        capture = self._captures[due.window.feed]
        closing = due.historical and bool(cursor.seen) and not is_revisit
        try:
            result = capture(document, cursor.seen, closing)
        except WrongDay as error:
            if due.historical:
                raise RefusedResponse(str(error), Refusal.DAY, document.response) from error
            # The address of the current day serves the previous day until the first publication.
            return _unchanged(due, msgspec.structs.replace(cursor, etag=document.etag), absent=True)
        except InvalidDocument as error:
            raise RefusedResponse(str(error), Refusal.BODY, document.response) from error
        self._archive.put(document)  # before the cursor that relies on it is committed
        after = cursor_after(cursor, document, result)
        if is_revisit:
            change = change_of(cursor, document, result, capture, self._archive.read)
            after = msgspec.structs.replace(after, change=change)
        dead_letters = capture.new_dead_letters(result, document, cursor.document, self._archive.read)
        return FetchOutcome(due, after, result.records + dead_letters, changed=True)

    def _repeated(self, due: DueWindow, cursor: WindowCursor) -> FetchOutcome:
        """The source answered with the final document that is known."""
        return FetchOutcome(due, cursor_after_equal_answer(cursor, self._closing_rules.equal_answers), [], changed=True)


def cause_of(error: Exception, rejected: str | None = None) -> str:
    """The cause of a failed window: at most MAX_CAUSE_CHARS characters, secrets masked, with the type of an unexpected
    error. It ends with the place of the refused response, if that is stored."""
    note = f"; the response is in archive/{rejected}" if rejected else ""
    text = str(error) if isinstance(error, EXPECTED_ERRORS) else f"unexpected {type(error).__name__}: {error}"
    # The encoder of cursors refuses lone surrogates.
    return mask_text(text).encode(errors="replace").decode()[: MAX_CAUSE_CHARS - len(note)] + note


def wrong_document_of(error: Exception, at: datetime) -> WrongDocument | None:
    """What the error says about the answer, if that is a page that is no document or the document of another day."""
    if not isinstance(error, RefusedResponse) or error.reason not in {Refusal.BLOCK_PAGE, Refusal.TYPE, Refusal.DAY}:
        return None
    body = b"" if error.response is None else error.response.body
    kind: WrongKind = "other day" if error.reason is Refusal.DAY else "block page"
    return WrongDocument(kind, hashlib.sha256(body).hexdigest()[:HASH_CHARS], at)


def _deferred(due: DueWindow, cursor: WindowCursor, until: datetime) -> FetchOutcome:
    return FetchOutcome(due, cursor, [], changed=False, deferred_until=until)


def _unchanged(due: DueWindow, cursor: WindowCursor, absent: bool = False) -> FetchOutcome:
    """The outcome of a fetch without new content. It clears the failure of a window that had failed."""
    if cursor.error is not None:
        return FetchOutcome(due, cursor.as_recovered(), [], changed=True, absent=absent)
    return FetchOutcome(due, cursor, [], changed=False, absent=absent)
