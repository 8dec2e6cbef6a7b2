"""The archive of raw documents: every body that was ever fetched, once, under the SHA-256 of its content.

    archive/ab/cdef....zst   the body, compressed
    archive/index.jsonl      one line a document: feed, date, url, fetched_at, published_at, historical, hash

The index is written before the body. A crash between the two leaves a line whose body is missing, which a reader can
see; the other order would leave a body that nothing leads to. A document that goes away and comes back has a line for
each time, and so has one that is at last fetched as history: in order, the lines of a window are its history.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec
import zstandard

from services.fetcher.sources.archive_files import broken_link
from services.fetcher.sources.documents import Document, IndexLine
from shared.errors import ConfigError, InvalidDocument, TransientError

# Level 1 packs a day's document to 8 % in half a millisecond; level 3 to no less in more.
LEVEL = 1


class DocumentArchive:
    """Below `folder`, which is made if needed. Safe for several threads; one process at a time writes.

    `source` names where the documents that are put come from.
    """

    def __init__(self, folder: Path, source: str | None = None) -> None:
        self._folder = folder
        self._source = source
        self._index = folder / "index.jsonl"
        self._lock = threading.Lock()
        self._newest: dict[tuple[str, date], IndexLine] | None = None

    def put(self, document: Document) -> None:
        """Keep the document; the newest of its window, put again, costs a look. Raises TransientError where the disk
        refuses."""
        path = self._path(document.hash)
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._note(document)
                self._write(path, zstandard.ZstdCompressor(level=LEVEL).compress(document.body))
            elif not _same(self._newest_of(document), self._line_of(document)):
                self._note(document)
        except OSError as error:
            raise TransientError(f"cannot keep a document in {self._folder}: {error.strerror}") from error

    def read(self, hash_: str) -> bytes:
        """The body. Raises InvalidDocument where it is missing or no longer what its name says."""
        try:
            body = zstandard.ZstdDecompressor().decompress(self._path(hash_).read_bytes())
        except (OSError, zstandard.ZstdError) as error:
            raise InvalidDocument(f"document {hash_} in {self._folder}: {self._broken_link(hash_) or error}") from error
        if hashlib.sha256(body).hexdigest() != hash_:
            raise InvalidDocument(f"document {hash_} in {self._folder}: its content has another hash")
        return body

    def documents(self) -> Iterator[IndexLine]:
        """In the order they came, each change of a window once; without those whose body never got here.

        A body behind a broken link did get here: its line is given, and `read` says what is wrong.
        """
        newest: dict[tuple[str, date], IndexLine] = {}
        for line in self._lines():
            if not _same(newest.get((line.feed, line.date)), line) and self._was_kept(line.hash):
                newest[line.feed, line.date] = line
                yield line

    def _lines(self) -> Iterator[IndexLine]:
        """Raises ConfigError where the index cannot be read."""
        try:
            index = self._index.read_bytes() if self._index.exists() else b""
        except OSError as error:
            raise ConfigError(f"cannot read the archive's index {self._index}: {error.strerror}") from error
        for text in index.splitlines():
            try:
                yield msgspec.json.decode(text, type=IndexLine)
            except msgspec.DecodeError:
                continue  # the end of a line that a crash cut off, and what was written behind it

    def _newest_of(self, document: Document) -> IndexLine | None:
        """The last line of the document's window."""
        with self._lock:
            if self._newest is None:
                self._newest = {(line.feed, line.date): line for line in self._lines()}
            return self._newest.get((document.feed, document.date))

    def exists(self) -> bool:
        """Whether there is an archive in the folder."""
        return self._index.exists()

    def _was_kept(self, hash_: str) -> bool:
        return self._path(hash_).exists() or self._broken_link(hash_) is not None

    def _broken_link(self, hash_: str) -> str | None:
        return broken_link(self._folder, self._path(hash_).relative_to(self._folder).as_posix())

    def _path(self, hash_: str) -> Path:
        return self._folder / hash_[:2] / f"{hash_[2:]}.zst"

    def _note(self, document: Document) -> None:
        line = self._line_of(document)
        # The newline comes first: behind a line that was cut off, ours is still whole.
        with self._lock, self._index.open("ab") as index:
            index.write(b"\n" + msgspec.json.encode(line))
            if self._newest is not None:
                self._newest[document.feed, document.date] = line

    def _line_of(self, document: Document) -> IndexLine:
        return IndexLine(
            document.feed, document.date, document.url, document.fetched_at, document.published_at,
            document.historical, document.hash, self._source,
        )  # fmt: skip

    def _write(self, path: Path, packed: bytes) -> None:
        """Whole or not at all: the name appears when the bytes are on the disk."""
        partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
        try:
            with partial.open("wb") as file:
                file.write(packed)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _same(before: IndexLine | None, line: IndexLine) -> bool:
    """Whether a line says nothing new of its window."""
    return before is not None and (before.hash, before.historical) == (line.hash, line.historical)
