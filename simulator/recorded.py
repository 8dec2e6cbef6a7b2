"""Serves a recorded live day: each version of a document from the time at which the source published it.

The folder has a `manifest.json` and the files that it names:

    {"url_path": "/{feed}/v2/today.json",
     "versions": [{"file": "150929Z-results.json.gz", "feed": "results", "utc": "2026-01-30T15:09:29Z",
                   "race_date": "2026-01-31", "bytes": 202267, "sha256": "..."}, ...]}

`bytes` and `sha256` are those of the document, not of the gzip file.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from simulator.publisher import PublishedPage, dated_path, published_page

MANIFEST = "manifest.json"
GZIP = 16 + zlib.MAX_WBITS
MAX_BYTES = 64 * 1024 * 1024


class _Entry(msgspec.Struct, frozen=True):
    file: str
    feed: str
    utc: datetime
    race_date: date
    sha256: str


class _Manifest(msgspec.Struct, frozen=True):
    versions: list[_Entry]


class RecordedVersion(NamedTuple):
    """A version of a feed's document, public from `page.published_at` until the next one."""

    feed: str
    day: date
    page: PublishedPage


class RecordedDay:
    """The versions in `folder`. Raises ValueError if the manifest or a file is missing or invalid.

    `today.json` of a feed is its newest version. The dated document of a day is its newest version of that day.
    """

    def __init__(self, folder: Path) -> None:
        self._versions: dict[str, list[RecordedVersion]] = defaultdict(list)
        for entry in _entries(folder):
            self._versions[entry.feed].append(_version(folder, entry))

    @property
    def published(self) -> tuple[datetime, datetime]:
        """When the first and the last version were published, in UTC."""
        times = [version.page.published_at for versions in self._versions.values() for version in versions]
        return min(times), max(times)

    def page(self, path: str, now: datetime) -> PublishedPage | None:
        """The public document under this path; None if it does not exist (yet)."""
        dated = dated_path(path)
        match path.split("/"):
            case ["", feed, "v2", "today.json"]:
                return self._newest(feed, None, now)
            case _ if dated is not None:
                return self._newest(*dated, now)
        return None

    def _newest(self, feed: str, day: date | None, now: datetime) -> PublishedPage | None:
        public = [
            version.page
            for version in self._versions.get(feed, ())
            if version.page.published_at <= now and day in {None, version.day}
        ]
        return public[-1] if public else None


def _entries(folder: Path) -> list[_Entry]:
    path = folder / MANIFEST
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=_Manifest).versions
    except (OSError, msgspec.MsgspecError) as error:
        raise ValueError(f"expected the manifest of a recorded day in {path}: {error}") from error
    if not entries or any(entry.utc.tzinfo is None for entry in entries):
        raise ValueError(f"expected versions with times in UTC in {path}")
    return sorted(entries, key=lambda entry: entry.utc)


def _version(folder: Path, entry: _Entry) -> RecordedVersion:
    path = folder / entry.file
    if path.parent != folder:
        raise ValueError(f"{folder / MANIFEST}: expected the name of a file in the same folder, got {entry.file!r}")
    decompressor = zlib.decompressobj(GZIP)
    try:
        body = decompressor.decompress(path.read_bytes(), MAX_BYTES)
    except (OSError, zlib.error) as error:
        raise ValueError(f"expected a recorded document in {path}: {error}") from error
    if not decompressor.eof:
        raise ValueError(f"{path}: the file is truncated, or holds more than {MAX_BYTES:,} bytes")
    if hashlib.sha256(body).hexdigest() != entry.sha256:
        raise ValueError(f"{path}: the content does not match the hash in {MANIFEST}")
    return RecordedVersion(entry.feed, entry.race_date, published_page(body, entry.utc.astimezone(UTC)))
