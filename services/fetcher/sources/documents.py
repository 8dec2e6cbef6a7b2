"""A fetched document, the protocol of everything that documents are fetched from, and the errors of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum, StrEnum
from functools import cached_property
from typing import Literal, Protocol

import msgspec

from services.fetcher.planning.windows import DueWindow
from shared.errors import HeadraceError, InvalidDocument, TransientError

WaitReason = Literal["budget", "retry-after", "breaker", "database"]
"""Why no request may be made now: the budget of the host is used up, the server asked to wait, too many requests
failed, or the database with the state of the gate is unavailable."""


class Absence(Enum):
    """Why a fetch returned no document. Neither is an error."""

    NOT_PUBLISHED = "not published"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class SourceResponse:
    """A response of a server. `url` is the address that responded, after redirects.

    `body` is unpacked. If the response was refused or is an error, it is only the beginning of the body.
    """

    url: str
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Refusal(StrEnum):
    """Why a response is refused."""

    ADDRESS = "address"
    BLOCK_PAGE = "block page"
    BODY = "body"
    DAY = "other day"
    HEADER = "header"
    REDIRECT = "redirect"
    SIZE = "size"
    STATUS = "status"
    TYPE = "type"


class RefusedResponse(InvalidDocument):
    """A response that is not a document. `response` is None if its headers did not arrive."""

    def __init__(self, message: str, reason: Refusal, response: SourceResponse | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.response = response


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
    response: SourceResponse | None = None
    """The response that it came in; None if it was not fetched from a server."""

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


class Deferred(HeadraceError):
    """No request was made, because none may be made before `until`, in the time of the fetcher's clock.

    It is not a failure of the window: the window is due again at `until`.
    """

    def __init__(self, until: datetime, reason: WaitReason) -> None:
        super().__init__(f"no request before {until.isoformat(timespec='seconds')}: {reason}")
        self.until = until
        self.reason = reason


class ArchiveUnavailable(TransientError):
    """A document cannot be stored: the disk is full, read-only or away. It is not the fault of the document."""


class Throttled(TransientError):
    """The server answered 429 or 503. `retry_after` and `date` are its header fields of these names, unparsed."""

    def __init__(self, message: str, retry_after: str | None = None, date: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.date = date


class SourceUnavailable(HeadraceError):
    """The request failed, and so many before it that no further one is made for now: a retry is pointless."""


class DocumentSource(Protocol):
    """Where documents come from: a server or a recorded archive. Must be thread-safe."""

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        """Raises TransientError if a retry may succeed, InvalidDocument if the answer is not a valid document, Deferred
        if no request may be made now."""
        ...

    def close(self) -> None: ...
