"""The cursor of a window: keyed state that is committed together with the window's records."""

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


class WindowCursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one window. `live`: to be fetched again. `document` is the SHA-256 of the last document.

    `events`: the events of the last document; None before the first one, and in cursors of versions that did not count
    them. `most_events`: those of the document with the most. `is_confirmed`: the final document was fetched again
    without a change.
    """

    state: CursorState = msgspec.field(default="live")
    document: str | None = None
    etag: str | None = None
    fetched_at: datetime | None = None
    attempts: int = 0
    error: str | None = None
    seen: dict[str, SliceVersion] = {}
    events: int | None = None
    most_events: int = 0
    is_confirmed: bool = False

    def as_failed(self, error: str) -> WindowCursor:
        """The cursor after a failed fetch. It keeps `seen`, so that the next good document continues from it."""
        return msgspec.structs.replace(self, state="failed", attempts=self.attempts + 1, error=error)

    def as_recovered(self) -> WindowCursor:
        return msgspec.structs.replace(self, state="live", attempts=0, error=None)


class WindowStatus(msgspec.Struct, frozen=True):
    """The part of a cursor that planning needs. Decoding it skips `seen`, which is most of the bytes."""

    state: CursorState = "live"
    attempts: int = 0
    error: str | None = None
    events: int | None = None
    most_events: int = 0
    is_confirmed: bool = False


_ENCODER = msgspec.json.Encoder()
_CURSOR = msgspec.json.Decoder(WindowCursor)
_STATUS = msgspec.json.Decoder(WindowStatus)


def encode(cursor: WindowCursor) -> bytes:
    return _ENCODER.encode(cursor)


def decode(value: bytes) -> WindowCursor:
    return _CURSOR.decode(value)


def status_of(value: bytes) -> WindowStatus:
    return _STATUS.decode(value)
