"""Keeps the responses that were refused, for a person to look at.

    archive/rejected/FEED-DATE-DIGEST.json   time, cause, reason, address, status and headers
    archive/rejected/FEED-DATE-DIGEST.body   the beginning of the unpacked body

The digest is of the response's status and body: the same response to the same window is stored once, with its last
time. The number of responses and their total size are limited; the oldest are removed first. Nothing reads these files
but people, and an error of the file system only loses them.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec
import structlog

from services.fetcher.planning.windows import Window
from services.fetcher.sources.documents import RefusedResponse, SourceResponse
from shared.logs import mask_text

FOLDER = "rejected"
MAX_BODY_BYTES = 256 * 1024
MAX_RESPONSES = 200
MAX_TOTAL_BYTES = 16 * 1024 * 1024
DIGEST_CHARS = 12
META, BODY = ".json", ".body"


class RejectedMeta(msgspec.Struct, frozen=True):
    """What is stored beside the body. `body_bytes`: its whole size as far as it was received."""

    at: datetime
    feed: str
    date: str
    url: str
    status: int
    reason: str
    cause: str
    body_bytes: int
    is_body_cut: bool
    headers: list[tuple[str, str]]


class RejectedResponses:
    """Thread-safe; only one process may write at a time. `count` is called with the reason of each refused response."""

    def __init__(
        self,
        archive: Path,
        count: Callable[[str], None] = lambda _: None,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_responses: int = MAX_RESPONSES,
        max_total_bytes: int = MAX_TOTAL_BYTES,
    ) -> None:
        self._folder = archive / FOLDER
        self._count = count
        self._max_body_bytes = max_body_bytes
        self._max_responses = max_responses
        self._max_total_bytes = max_total_bytes
        self._lock = threading.Lock()
        self._log = structlog.get_logger()

    def put(self, window: Window, error: RefusedResponse, at: datetime) -> str | None:
        """Store the response of the error, if it has one. Returns its name below the archive; None if it is not
        stored."""
        self._count(error.reason)
        if error.response is None:
            return None
        name = f"{window.feed}-{window.date.isoformat()}-{_digest(error.response)}"
        body = error.response.body[: self._max_body_bytes]
        meta = msgspec.json.format(msgspec.json.encode(_meta(window, error, error.response, len(body), at)), indent=2)
        try:
            with self._lock:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._write(name + BODY, body)
                self._write(name + META, meta)
                self._remove_oldest()
        except OSError as failure:
            self._log.warning("rejected_response_not_stored", folder=str(self._folder), error=failure.strerror)
            return None
        return f"{FOLDER}/{name}{META}"

    def _write(self, name: str, content: bytes) -> None:
        """Write the file under its name once it is complete."""
        partial = self._folder / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(self._folder / name)

    def _remove_oldest(self) -> None:
        """Remove the oldest responses beyond the limits, and files that a crash left without their counterpart."""
        sizes: dict[str, int] = {}
        ages: dict[str, int] = {}
        for entry in os.scandir(self._folder):
            stem = entry.name.split(".", 1)[0]
            stat = entry.stat()
            sizes[stem] = sizes.get(stem, 0) + stat.st_size
            ages[stem] = max(ages.get(stem, 0), stat.st_mtime_ns)
        total_bytes, count = sum(sizes.values()), len(sizes)
        for stem in sorted(sizes, key=lambda each: (ages[each], each)):
            if count <= self._max_responses and total_bytes <= self._max_total_bytes:
                return
            for path in self._folder.glob(f"{stem}.*"):
                path.unlink(missing_ok=True)
            total_bytes -= sizes[stem]
            count -= 1


def _meta(
    window: Window, error: RefusedResponse, response: SourceResponse, kept_bytes: int, at: datetime
) -> RejectedMeta:
    return RejectedMeta(
        at=at,
        feed=window.feed,
        date=window.date.isoformat(),
        url=mask_text(response.url),
        status=response.status,
        reason=error.reason,
        cause=_printable(mask_text(str(error))),
        body_bytes=len(response.body),
        is_body_cut=kept_bytes < len(response.body),
        headers=[(_printable(name), _printable(mask_text(value))) for name, value in response.headers],
    )


def _digest(response: SourceResponse) -> str:
    return hashlib.sha256(b"%d\n" % response.status + response.body).hexdigest()[:DIGEST_CHARS]


def _printable(text: str) -> str:
    """The text without lone surrogates, which JSON in UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()
