"""A fetched document, and what every place to fetch from gives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from functools import cached_property
from typing import Protocol

import msgspec

from services.fetcher.planning.windows import Due


class Absence(Enum):
    """Why there is no document; neither is an error."""

    NOT_PUBLISHED = "not published"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Document:
    """One body as it came, uncompressed. `url` is the path inside the archive for a recorded one."""

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
        """Its name in the archive."""
        return hashlib.sha256(self.body).hexdigest()


class IndexLine(msgspec.Struct, frozen=True):
    """A document that is in the archive."""

    feed: str
    date: date
    url: str
    fetched_at: datetime
    published_at: datetime | None
    historical: bool
    hash: str
    source: str | None = None  # archives that were begun by an older version do not tell


class DocumentSource(Protocol):
    """Where documents come from: a server, or a recorded archive. Called from several threads at once."""

    def fetch(self, due: Due, etag: str | None) -> Document | Absence:
        """Raises TransientError where a later try may go well, InvalidDocument where what came is no document."""
        ...

    def close(self) -> None: ...
