"""The cursor of a window: keyed state that is committed together with the window's records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

State = Literal["live", "done", "failed"]


class Version(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last emitted slice of an event. `first` is the hash of its first version, or empty if this is the first."""

    hash: str
    ordinal: int
    first: str = ""

    def next(self, hash_: str) -> Version:
        return Version(hash_, self.ordinal + 1, self.first or self.hash)

    @property
    def is_as_at_first(self) -> bool:
        return self.first in {"", self.hash}


Seen = Mapping[str, Version]


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one window. `live`: to be fetched again. `document` is the SHA-256 of the last document."""

    state: State = msgspec.field(default="live")
    document: str | None = None
    etag: str | None = None
    fetched_at: datetime | None = None
    attempts: int = 0
    error: str | None = None
    seen: dict[str, Version] = {}

    def failed(self, error: str) -> Cursor:
        """The cursor after a failed fetch. It keeps `seen`, so that the next good document continues from it."""
        return msgspec.structs.replace(self, state="failed", attempts=self.attempts + 1, error=error)

    def well_again(self) -> Cursor:
        return msgspec.structs.replace(self, state="live", attempts=0, error=None)


class Standing(msgspec.Struct, frozen=True):
    """The part of a cursor that planning needs. Decoding it skips `seen`, which is most of the bytes."""

    state: State = "live"
    attempts: int = 0
    error: str | None = None


_ENCODER = msgspec.json.Encoder()
_CURSOR = msgspec.json.Decoder(Cursor)
_STANDING = msgspec.json.Decoder(Standing)


def encode(cursor: Cursor) -> bytes:
    return _ENCODER.encode(cursor)


def decode(value: bytes) -> Cursor:
    return _CURSOR.decode(value)


def standing_of(value: bytes) -> Standing:
    return _STANDING.decode(value)
