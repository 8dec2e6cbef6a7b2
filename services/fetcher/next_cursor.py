"""Computes the cursor of a window after a document, and how a final document differs from the one before."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from services.fetcher.capture import Capture, CaptureResult
from services.fetcher.planning.changes import document_change
from services.fetcher.planning.cursor import DocumentChange, WindowCursor
from services.fetcher.sources.documents import Document
from shared.errors import InvalidDocument

ReadDocument = Callable[[str], bytes]
"""Reads an archived document by its hash. Raises InvalidDocument if it is missing."""


def cursor_after(before: WindowCursor, document: Document, captured: CaptureResult) -> WindowCursor:
    """The cursor after a document that differs from the last one of its window, or is its first final one."""
    valued = captured.findings.valued
    return WindowCursor(
        state="done" if document.historical else "live",
        document=document.hash,
        etag=document.etag,
        fetched_at=document.fetched_at,
        seen=captured.versions,
        events=captured.events,
        most_events=max(captured.events, before.most_events),
        valued=valued,
        most_valued=max(valued or 0, before.most_valued),
        equal_answers=1 if document.historical else 0,
        change=before.change,
        timetable=None if document.historical else captured.findings.timetable(document.published_at),
    )


def cursor_after_equal_answer(before: WindowCursor, equal_answers: int) -> WindowCursor:
    """The cursor of a window that is done, after the same document once more. `equal_answers` in a row confirm it."""
    count = max(1, before.equal_answers) + 1  # older versions did not count
    confirmed = before.is_confirmed or count >= equal_answers
    return msgspec.structs.replace(before, equal_answers=count, is_confirmed=confirmed, attempts=0, error=None)


def change_of(
    before: WindowCursor, document: Document, captured: CaptureResult, capture: Capture, read: ReadDocument
) -> DocumentChange:
    """How the final document of a window differs from the final document before. Without that one in the archive, the
    events that differ are known, but not their fields."""
    new = capture.bodies(document)
    hash_ = before.document or ""
    try:
        body = read(hash_)
        old = capture.bodies(
            Document(document.feed, document.date, document.url, body, before.fetched_at or document.fetched_at)
        )
    except InvalidDocument:
        old = _old_events(before, captured, new)
    return document_change(document.fetched_at, (hash_, old), (document.hash, new))


def _old_events(before: WindowCursor, captured: CaptureResult, new: Mapping[str, bytes]) -> dict[str, bytes]:
    """The events of the document before. Only the bodies of those that are equal now are known."""
    old = {key: b"" for key in before.seen if ":" in key}  # slices without a key are stored by their hash
    equal = {key for key in old if key in new and captured.versions[key].hash == before.seen[key].hash}
    return old | {key: new[key] for key in equal}
