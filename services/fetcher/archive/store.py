"""Stores every fetched document body once, under the SHA-256 of its content.

    archive/ab/cdef....zst   the compressed body
    archive/index.jsonl      one line per document: feed, date, url, fetched_at, published_at, historical, hash, source

The body is written before its line. A crash between the two leaves a body without a line; the line is written when the
document is fetched again. The lines of a window are its history: a content that returns after a change has a new line,
and so has one that is fetched again as historical.

`sync` makes all of it survive a power cut. The fetcher calls it before each commit of cursors, which rely on the
documents. A power cut may damage documents that no cursor relies on; they are written again when they are fetched.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from pathlib import Path

import msgspec
import zstandard

from services.fetcher.archive.files import DiskFiles, Files
from services.fetcher.archive.index import INDEX, index_lines
from services.fetcher.sources.archive_files import broken_link
from services.fetcher.sources.documents import ArchiveUnavailable, Document, IndexLine
from shared.errors import InvalidDocument, TransientError

# Level 1 compresses a day's document to 8 % in 0.5 ms. Level 3 takes longer and gives the same size.
LEVEL = 1
# The limit of a body that is read, unless the declaration of its source has another one. It is the declared default.
MAX_BODY_BYTES = 32 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
# File systems combine concurrent syncs: twelve bodies and their folders take 75 ms one by one, 3 ms in 4 or 8 threads.
SYNC_THREADS = 4


class DocumentArchive:
    """An archive in `folder`, which is created if needed. Thread-safe; only one process may write at a time.

    `source` is the name of the source whose documents are stored.
    """

    def __init__(
        self,
        folder: Path,
        source: str | None = None,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        files: Files | None = None,
    ) -> None:
        self._folder = folder
        self._source = source
        self._max_body_bytes = max_body_bytes
        self._files = files or DiskFiles()
        self._index = folder / INDEX
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._newest: dict[tuple[str, date], IndexLine] | None = None
        self._newest_inode: int | None = None
        self._syncs: list[tuple[Path, Future[None]]] = []
        self._pool = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")

    @property
    def folder(self) -> Path:
        return self._folder

    def put(self, document: Document) -> None:
        """Store the document. Writes nothing if it equals the newest document of its window.

        It survives a power cut only after `sync`. Raises ArchiveUnavailable if the file system reports an error.
        """
        path, line = self._path(document.hash), self._line_of(document)
        try:
            is_new = not path.exists()
            if is_new or not self._is_intact(document.hash):
                self._write(path, document.body)
            if is_new or not _is_repeat(self._newest_of(document), line):
                self._append_line(line)
            if not path.exists():  # retention removed it as the body of another window, before the line was written
                self._write(path, document.body)
        except OSError as error:
            raise ArchiveUnavailable(f"cannot store a document in {self._folder}: {error.strerror}") from error
        # Also if nothing was written: an earlier process may have ended before it synced.
        self._start_sync([path])

    def sync(self) -> None:
        """Make all stored documents survive a power cut. Raises TransientError if the file system reports an error."""
        with self._lock:
            syncs, self._syncs = self._syncs, []
        if not syncs:
            return
        try:
            above = (self._index, self._folder, self._folder.parent)
            futures = [self._pool.submit(self._files.sync, path) for path in above]
            for future in (*(future for _, future in syncs), *futures):
                future.result()
        except OSError as error:
            self._start_sync(path for path, _ in syncs)
            raise TransientError(f"cannot sync the archive {self._folder}: {error.strerror}") from error

    def read(self, hash_: str) -> bytes:
        """The body of a document. Raises InvalidDocument if it is missing, does not match its hash or is larger than
        the limit."""
        try:
            with self._path(hash_).open("rb") as file:
                body = zstandard.ZstdDecompressor().stream_reader(file).read(self._max_body_bytes + 1)
        except (OSError, zstandard.ZstdError) as error:
            raise InvalidDocument(f"document {hash_} in {self._folder}: {self._broken_link(hash_) or error}") from error
        if len(body) > self._max_body_bytes:
            raise InvalidDocument(
                f"document {hash_} in {self._folder}: expected at most {self._max_body_bytes:,} bytes, got more"
            )
        if hashlib.sha256(body).hexdigest() != hash_:
            raise InvalidDocument(f"document {hash_} in {self._folder}: the content does not match the hash")
        return body

    def documents(self) -> Iterator[IndexLine]:
        """The index lines in the order they were written, without repetitions and without lines whose body is missing.

        A body behind a broken symbolic link counts as present: `read` raises for it. Raises ConfigError if the index
        cannot be read.
        """
        newest: dict[tuple[str, date], IndexLine] = {}
        for line in index_lines(self._index):
            if not _is_repeat(newest.get((line.feed, line.date)), line) and self._is_stored(line.hash):
                newest[line.feed, line.date] = line
                yield line

    def exists(self) -> bool:
        """Whether the folder contains an archive."""
        return self._index.exists()

    def _newest_of(self, document: Document) -> IndexLine | None:
        """The last line of the document's window."""
        with self._lock:
            inode = self._inode()
            if self._newest is None or inode != self._newest_inode:  # another process may have replaced the index
                self._newest = {(line.feed, line.date): line for line in index_lines(self._index)}
                self._newest_inode = inode
            return self._newest.get((document.feed, document.date))

    def _start_sync(self, bodies: Iterable[Path]) -> None:
        """Begin to sync while other documents are fetched."""
        with self._lock:
            self._syncs += [(path, self._pool.submit(self._sync_body, path)) for path in bodies]

    def _sync_body(self, path: Path) -> None:
        """Sync a body, and its folder after each new name in it. One task, because each costs CPU."""
        self._files.sync(path)
        self._files.sync(path.parent)

    def _is_intact(self, hash_: str) -> bool:
        try:
            self.read(hash_)
        except InvalidDocument:
            return False
        return True

    def _inode(self) -> int | None:
        try:
            return self._index.stat().st_ino
        except FileNotFoundError:
            return None

    def _is_stored(self, hash_: str) -> bool:
        return self._path(hash_).exists() or self._broken_link(hash_) is not None

    def _broken_link(self, hash_: str) -> str | None:
        return broken_link(self._folder, self._path(hash_).relative_to(self._folder).as_posix())

    def _path(self, hash_: str) -> Path:
        return body_path(self._folder, hash_)

    def _make_folders(self, path: Path) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self._folder, path):
            self._files.make_folder(folder)

    def _append_line(self, line: IndexLine) -> None:
        # The newline comes first, so that the line is complete even after one that a crash cut off.
        with self._lock:
            self._files.append(self._index, b"\n" + msgspec.json.encode(line))
            if self._newest is not None:
                self._newest[line.feed, line.date] = line

    def _line_of(self, document: Document) -> IndexLine:
        return IndexLine(
            document.feed, document.date, document.url, document.fetched_at, document.published_at,
            document.historical, document.hash, self._source,
        )  # fmt: skip

    def _write(self, path: Path, body: bytes) -> None:
        """Write so that a reader sees the whole file or none. `sync` makes it durable."""
        packed = self._compressor().compress(body)
        partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
        try:
            try:
                self._files.write(partial, packed)
            except FileNotFoundError:
                self._make_folders(path.parent)
                self._files.write(partial, packed)
            self._files.rename(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _compressor(self) -> zstandard.ZstdCompressor:
        """One for each thread: a new one allocates more than a megabyte, and it is not thread-safe."""
        if (compressor := getattr(self._thread, "compressor", None)) is None:
            compressor = self._thread.compressor = zstandard.ZstdCompressor(level=LEVEL)
        return compressor


def body_path(folder: Path, hash_: str) -> Path:
    return folder / hash_[:2] / f"{hash_[2:]}.zst"


def _is_repeat(before: IndexLine | None, line: IndexLine) -> bool:
    """Whether a line repeats the previous line of its window."""
    return before is not None and (before.hash, before.historical) == (line.hash, line.historical)
