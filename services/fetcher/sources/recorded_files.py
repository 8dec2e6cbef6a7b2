"""Reads the documents of a recorded archive: gzip files by feed and date, in the layout that the source declares."""

from __future__ import annotations

import zlib
from datetime import date
from pathlib import Path

from services.fetcher.planning.windows import DueWindow
from services.fetcher.sources.archive_files import broken_link, recorded_files
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import Absence, Document
from shared.clock import Clock
from shared.errors import ConfigError, InvalidDocument, TransientError

GZIP = 16 + zlib.MAX_WBITS


class RecordedFileSource:
    """A DocumentSource over the files in `folder`; symbolic links are followed.

    A missing file is a document that was never published.
    """

    def __init__(self, source: Source, folder: Path, clock: Clock) -> None:
        if source.archive is None:
            raise ConfigError(
                f"source {source.name} declares no `archive`: add the path of its recorded documents to its YAML file"
            )
        if not (folder / (first := _first_folder(source.archive))).is_dir():
            cause = broken_link(folder, first) or f"expected {folder}/{source.archive}"
            raise ConfigError(f"no archive of {source.name} in {folder}: {cause}")
        self._layout = source.archive
        self._feeds = [feed.name for feed in source.feeds]
        self._max_body_bytes = source.http.max_body_bytes
        self._folder = folder
        self._clock = clock

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:  # noqa: ARG002 - files have no tags
        """Every recorded document is historical: when it was first public is not known."""
        window = due.window
        path = self._path(window.feed, window.date)
        try:
            packed = (self._folder / path).read_bytes()
        except OSError as error:
            if link := broken_link(self._folder, path):
                raise InvalidDocument(f"{path}: {link}") from error
            if isinstance(error, FileNotFoundError):
                return Absence.NOT_PUBLISHED
            raise TransientError(f"{path}: {error.strerror}") from error
        body = self._decompress(path, packed)
        return Document(window.feed, window.date, path, body, self._clock.now(), historical=True)

    def recorded_days(self) -> list[date]:
        """Every day that has a file, in order. Raises ConfigError if there is none or a folder cannot be listed."""
        last_year = self._clock.now().year + 1
        by_feed = [recorded_files(self._folder, self._layout, feed, last_year) for feed in self._feeds]
        days = sorted(set().union(*by_feed))
        if not days:
            raise ConfigError(f"the archive {self._folder} has no documents: expected files {self._layout}")
        return days

    def day_range(self) -> tuple[date, date]:
        """The first and the last day that has a file."""
        days = self.recorded_days()
        return days[0], days[-1]

    def close(self) -> None:
        """Does nothing: no file stays open."""

    def _path(self, feed: str, day: date) -> str:
        return self._layout.format(feed=feed, date=day)

    def _decompress(self, path: str, packed: bytes) -> bytes:
        decompressor = zlib.decompressobj(GZIP)
        try:
            body = decompressor.decompress(packed, self._max_body_bytes + 1)
        except zlib.error as error:
            raise InvalidDocument(f"{path}: expected an undamaged gzip file: {error}") from error
        if len(body) > self._max_body_bytes:
            raise InvalidDocument(f"{path}: expected at most {self._max_body_bytes:,} bytes, got more")
        if not decompressor.eof:
            raise InvalidDocument(f"{path}: the gzip file is truncated after {len(packed):,} bytes")
        if decompressor.unused_data:
            raise InvalidDocument(
                f"{path}: expected one gzip member, got {len(decompressor.unused_data):,} bytes after it"
            )
        return body


def _first_folder(layout: str) -> str:
    """The folder that exists for every feed and day: the layout's path up to its first placeholder."""
    fixed = layout.split("{", 1)[0]
    return fixed.rpartition("/")[0]
