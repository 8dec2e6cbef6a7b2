"""Verifies an archive of raw documents: bodies against their hashes, the index against the bodies, and the reverse.

It takes no lock and may run beside the fetcher: documents that are stored or removed meanwhile are no findings. Memory
is bounded, because a large index is read several times, each time for a range of hashes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import zstandard

from services.fetcher.archive.index import HASH, INDEX, index_texts
from services.fetcher.archive.store import CHUNK_BYTES, body_path
from shared.errors import ConfigError

Kind = Literal["unreadable", "missing", "damaged", "orphan", "partial"]
KINDS: dict[Kind, str] = {
    "unreadable": "a line of the index that cannot be read",
    "missing": "a line of the index without its body",
    "damaged": "a body that does not match its hash or cannot be unpacked",
    "orphan": "a body without a line in the index",
    "partial": "an unfinished file that a crash left behind",
}
# A body that unpacks to more is damaged. Far above the limit of any declaration, because it is read in chunks.
MAX_BODY_BYTES = 1024 * 1024 * 1024
# A body may have no line yet, and a file may be unfinished, while the fetcher stores a document.
SETTLING_S = 60.0
# The hashes of a part of the index that is read at once, in bytes of the index: some 200,000 lines.
PASS_BYTES = 64 * 1024 * 1024
SHARDS = tuple(f"{number:02x}" for number in range(256))


class ArchiveFinding(NamedTuple):
    """`path` is relative to the archive. `windows`: feed and date of the lines that name the body, at most three."""

    kind: Kind
    path: str
    detail: str
    windows: tuple[str, ...] = ()


class Progress(NamedTuple):
    """What was verified so far; `folders` of 256."""

    lines: int = 0
    bodies: int = 0
    bytes: int = 0
    folders: int = 0


ShowProgress = Callable[[Progress], None]


class Verification:
    """One pass over an archive. Raises ConfigError if `folder` contains none."""

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.time, pass_bytes: int = PASS_BYTES) -> None:
        self._folder = folder
        self._index = folder / INDEX
        if not self._index.is_file():
            raise ConfigError(f"{folder} contains no archive of documents: there is no {INDEX}")
        self._now_s = now_s
        self._pass_bytes = pass_bytes
        self.progress = Progress()

    def findings(self, show: ShowProgress = lambda _: None) -> Iterator[ArchiveFinding]:
        """Everything that is wrong, in the order of the index and then by hash. Raises ConfigError or OSError if the
        archive cannot be read."""
        passes = 1 + self._index.stat().st_size // self._pass_bytes
        size = -(-len(SHARDS) // passes)
        for number, start in enumerate(range(0, len(SHARDS), size)):
            shards = SHARDS[start : start + size]
            stored = {shard: self._bodies(shard) for shard in shards}  # before the index: a body precedes its line
            named: dict[str, list[str]] = {}
            for text in index_texts(self._index):
                if number == 0:
                    self.progress = self.progress._replace(lines=self.progress.lines + 1)
                    if text.line is None:
                        yield ArchiveFinding("unreadable", INDEX, f"line {text.number}: {text.text[:60]!r}")
                if text.line is not None and text.line.hash[:2] in shards:
                    windows = named.setdefault(text.line.hash, [])
                    if len(windows) < 3:
                        windows.append(f"{text.line.feed}/{text.line.date}")
            yield from self._missing(named, stored)
            for shard in shards:
                yield from self._findings_of(stored[shard], named)
                self.progress = self.progress._replace(folders=self.progress.folders + 1)
                show(self.progress)

    def _bodies(self, shard: str) -> dict[str, Path]:
        """The files of a folder by hash; other files by their name."""
        folder = self._folder / shard
        if not folder.is_dir():
            return {}
        return {shard + path.stem if path.suffix == ".zst" else path.name: path for path in folder.iterdir()}

    def _missing(self, named: dict[str, list[str]], stored: dict[str, dict[str, Path]]) -> Iterator[ArchiveFinding]:
        """Lines without a body, of which neither was written or removed since the folders were listed.

        Retention removes first the line, then the body.
        """
        absent = {
            hash_ for hash_ in named if hash_ not in stored[hash_[:2]] and not body_path(self._folder, hash_).exists()
        }
        if not absent:
            return
        absent &= {text.line.hash for text in index_texts(self._index) if text.line is not None}
        for hash_ in sorted(absent):
            yield ArchiveFinding("missing", self._relative(body_path(self._folder, hash_)), hash_, tuple(named[hash_]))

    def _findings_of(self, stored: dict[str, Path], named: dict[str, list[str]]) -> Iterator[ArchiveFinding]:
        for name, path in sorted(stored.items()):
            if path.suffix == ".partial" and self._is_settled(path):
                yield ArchiveFinding("partial", self._relative(path), "")
            elif path.suffix == ".zst" and HASH.fullmatch(name):
                windows = tuple(named.get(name, ()))
                detail = self._damage(name, path)
                if detail:
                    yield ArchiveFinding("damaged", self._relative(path), detail, windows)
                elif not windows and self._is_settled(path):
                    yield ArchiveFinding("orphan", self._relative(path), name)

    def _damage(self, hash_: str, path: Path) -> str | None:
        digest, size = hashlib.sha256(), 0
        try:
            with path.open("rb") as file:
                reader = zstandard.ZstdDecompressor().stream_reader(file)
                while chunk := reader.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    if size > MAX_BODY_BYTES:
                        return f"it unpacks to more than {MAX_BODY_BYTES:,} bytes"
        except FileNotFoundError:
            # Otherwise it was removed by retention since the folder was listed.
            return "a broken symbolic link" if path.is_symlink() else None
        except (OSError, zstandard.ZstdError) as error:
            return str(error)
        progress = self.progress
        self.progress = progress._replace(bodies=progress.bodies + 1, bytes=progress.bytes + size)
        return None if digest.hexdigest() == hash_ else "the content does not match the hash"

    def _is_settled(self, path: Path) -> bool:
        """Whether the file is older than the moment in which its document is stored."""
        try:
            return self._now_s() - path.stat().st_mtime > SETTLING_S
        except FileNotFoundError:
            return False

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()
