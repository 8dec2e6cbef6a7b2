"""A fetched document, and the protocol of everything that documents are fetched from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from functools import cached_property
from typing import Protocol

import msgspec

from services.fetcher.planning.windows import DueWindow


class Absence(Enum):
    """Why a fetch returned no document. Neither is an error."""

    NOT_PUBLISHED = "not published"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Document:
    """A document with its uncompressed body. `url` of a recorded document is its path inside the archive."""

    feed: str
    date: date
    url: str
    body: bytes
    fetched_at: datetime
    published_at: datetime | None = None
    etag: str | None = None
    historical: bool = False

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the body in hex, which is its name in the archive."""
        return hashlib.sha256(self.body).hexdigest()


class IndexLine(msgspec.Struct, frozen=True):
    """One line of the archive's index: a document without its body."""

    feed: str
    date: date
    url: str
    fetched_at: datetime
    published_at: datetime | None
    historical: bool
    hash: str
    source: str | None = None  # None in lines written by an older version


class DocumentSource(Protocol):
    """Where documents come from: a server or a recorded archive. Must be thread-safe."""

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        """Raises TransientError if a retry may succeed, InvalidDocument if the answer is not a valid document."""
        ...

    def close(self) -> None: ...
