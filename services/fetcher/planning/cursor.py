"""The cursor of a window: keyed state that is committed together with the window's records.

Later versions read cursors of earlier ones: every field has a default, and an unknown field is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

CursorState = Literal["live", "done", "failed"]


class SliceVersion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last emitted slice of an event. `first` is the hash of its first version, or empty if this is the first."""

    hash: str
    ordinal: int
    first: str = ""

    def next(self, hash_: str) -> SliceVersion:
        return SliceVersion(hash_, self.ordinal + 1, self.first or self.hash)

    @property
    def is_unchanged_since_first(self) -> bool:
        return self.first in {"", self.hash}


KnownVersions = Mapping[str, SliceVersion]


class EventDifference(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What differs in one event: it was added, removed, or these fields of it changed."""

    event: str
    kind: Literal["added", "removed", "changed"]
    fields: tuple[str, ...] = ()


class DocumentChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the document of a finished window differs from the one before. `events` are the first of `total`."""

    at: datetime
    before: str
    after: str
    events: tuple[EventDifference, ...] = ()
    total: int = 0


WrongKind = Literal["block page", "other day"]


class WrongDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer instead of the document of a day that is over: a page that is no document, or the document of another
    day. `hash`: of its body. `equal_answers`: so many answers in a row, the last of them at `counted_at`, were equal;
    answers that came soon after the one before do not count (planning/wrong_documents.py)."""

    kind: WrongKind
    hash: str
    counted_at: datetime
    equal_answers: int = 1


class Timetable(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a document of the current day says about its events: when they start (Unix time in seconds), and which of
    them are settled. `published_at`: when the document was published, as far as known."""

    starts: dict[str, int] = {}
    settled: frozenset[str] = frozenset()
    published_at: datetime | None = None


class WindowStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a cursor that planning needs. Decoding it skips `seen`, which is most of the bytes.

    `live`: to be fetched again. `events`: the events of the last document; None before the first one, and in cursors of
    versions that did not count them. `valued`: those of them that have values (completeness.values of the declaration),
    None if that is not declared. `most_events`, `most_valued`: the highest of these numbers so far.

    `equal_answers`: how often in a row the source answered with this final document. `is_confirmed`: often enough, or
    an operator accepted the window (`is_accepted`): then it is not fetched again. `fetched_at`: when the last document
    was fetched first. `checked_at`: the last later fetch of a window whose day is over. `change`: how the last change
    of the final document differs from the one before. `wrong_document`: the last answer, if it was one; a window with
    the state failed is suspect then, a window that is done was closed with it.
    """

    state: CursorState = "live"
    attempts: int = 0
    error: str | None = None
    events: int | None = None
    most_events: int = 0
    is_confirmed: bool = False
    valued: int | None = None
    most_valued: int = 0
    equal_answers: int = 0
    fetched_at: datetime | None = None
    checked_at: datetime | None = None
    change: DocumentChange | None = None
    timetable: Timetable | None = None
    is_accepted: bool = False
    wrong_document: WrongDocument | None = None


class WindowCursor(WindowStatus, frozen=True, omit_defaults=True):
    """The state of one window. `document` is the SHA-256 of the last document."""

    document: str | None = None
    etag: str | None = None
    seen: dict[str, SliceVersion] = {}

    def as_failed(self, error: str, wrong_document: WrongDocument | None = None) -> WindowCursor:
        """The cursor after a failed fetch. It keeps `seen`, so that the next good document continues from it.

        A window that is done stays done: its final document is known. It would otherwise be closed a second time.
        """
        attempts = self.attempts + 1
        if self.state == "done":
            return msgspec.structs.replace(self, attempts=attempts, error=error)
        return msgspec.structs.replace(
            self, state="failed", attempts=attempts, error=error, wrong_document=wrong_document
        )

    def as_recovered(self) -> WindowCursor:
        if self.state == "done":
            return msgspec.structs.replace(self, attempts=0, error=None)
        return msgspec.structs.replace(self, state="live", attempts=0, error=None, wrong_document=None)

    def as_closed_without_document(self, wrong_document: WrongDocument, at: datetime) -> WindowCursor:
        """The cursor of a window whose source has no document of the day. It is fetched once more like any that is
        done; the document that then comes is the first final one."""
        return msgspec.structs.replace(
            self,
            state="done",
            attempts=0,
            error=None,
            is_confirmed=True,
            document=None,
            etag=None,
            fetched_at=self.fetched_at if self.state == "done" else at,
            equal_answers=wrong_document.equal_answers,
            wrong_document=wrong_document,
        )

    def as_accepted(self) -> WindowCursor:
        """The cursor of a window that an operator accepted as it is. Without a final document it is done as well: the
        document that a later backfill finds is then the first final one."""
        accepted = msgspec.structs.replace(
            self, state="done", attempts=0, error=None, is_confirmed=True, is_accepted=True, wrong_document=None
        )
        return accepted if self.state == "done" else msgspec.structs.replace(accepted, document=None, etag=None)


_ENCODER = msgspec.json.Encoder()
_CURSOR = msgspec.json.Decoder(WindowCursor)
_STATUS = msgspec.json.Decoder(WindowStatus)


def encode(cursor: WindowCursor) -> bytes:
    return _ENCODER.encode(cursor)


def decode(value: bytes) -> WindowCursor:
    return _CURSOR.decode(value)


def status_of(value: bytes) -> WindowStatus:
    return _STATUS.decode(value)
