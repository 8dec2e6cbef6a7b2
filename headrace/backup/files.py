"""Copies the files of a data directory into a backup, while services write them, and back.

An index or a state file is copied before the files that it names. Bodies of the archive and models never change, so the
copy has each file that it names, except for those that a retention removed meanwhile: then it is copied again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from headrace.backup.manifest import BackupFile
from services.fetcher.archive.files import DiskFiles
from services.fetcher.archive.index import INDEX, decode_line
from services.fetcher.archive.retention import REMOVED
from shared.errors import HeadraceError

CHUNK_BYTES = 1024 * 1024
# How often the archive is copied if its index is replaced meanwhile, which the fetcher does at most once an hour.
MAX_TRIES = 3
# Small files with a state of their own, which belong to the rows.
STATE_FILES = ("models/states.json", "demonstration.json")
# Folders with files that never change once they have their name.
PARTS = ("archive", "models")
# Refused responses are for people to look at; the others are files in work and lock files.
_SKIPPED_FOLDERS = frozenset({"rejected"})


class DataFolders(NamedTuple):
    """The data directory, and the folder of the models, which may be elsewhere."""

    data_dir: Path
    models: Path

    def place_of(self, path: str) -> Path:
        """Where a file of a backup belongs. `path` begins with the name of its part."""
        part, _, rest = path.partition("/")
        return self.models / rest if part == "models" else self.data_dir / path

    def parts(self) -> list[str]:
        """The parts that exist."""
        return [part for part in PARTS if self.place_of(f"{part}/").is_dir()]


ReportStep = Callable[[str], None]
"""Shows what is being done."""


class Copied(NamedTuple):
    """What was written: the size in bytes and the SHA-256 in hexadecimal."""

    size_bytes: int
    sha256: str


class FileCopies:
    """The copies in a backup. `folder` is the backup, and `files` are the copies that were made."""

    def __init__(self, folder: Path, report: ReportStep) -> None:
        self._folder = folder
        self._report = report
        self._files: dict[str, BackupFile] = {}

    @property
    def files(self) -> list[BackupFile]:
        return sorted(self._files.values(), key=lambda file: file.path)

    def add(self, path: str) -> None:
        """Add a file that is in the backup already."""
        size_bytes, sha256 = digest_of(self._folder / path)
        self._files[path] = BackupFile(path=path, size_bytes=size_bytes, sha256=sha256)

    def copy(self, source: Path, path: str) -> bool:
        """Copy a file unless it was copied. Returns False if it does not exist any more."""
        if path in self._files:
            return True
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            size_bytes, sha256 = copy_file(source, target)
        except FileNotFoundError:
            target.unlink(missing_ok=True)
            return False
        self._files[path] = BackupFile(path=path, size_bytes=size_bytes, sha256=sha256)
        if len(self._files) % 100 == 0:
            self._report(f"copying files: {len(self._files):,}")
        return True

    def replace(self, content: bytes, path: str) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(target, content)
        self.add(path)


def copy_data_directory(folders: DataFolders, copies: FileCopies, prefix: str) -> list[str]:
    """Copy the files of a data directory below `prefix` of the backup; returns the parts that exist.

    Raises HeadraceError if the archive changes too often.
    """
    for name in STATE_FILES:
        copies.copy(folders.place_of(name), f"{prefix}/{name}")
    if (folders.data_dir / "archive" / INDEX).exists():
        _copy_archive(folders.data_dir / "archive", copies, f"{prefix}/archive")
    for file in stored_files(folders.models):
        copies.copy(file, f"{prefix}/models/{file.relative_to(folders.models).as_posix()}")
    return folders.parts()


def stored_files(folder: Path) -> Iterator[Path]:
    """The files below a folder, in order, without hidden and unfinished ones. Symbolic links are followed."""
    for here, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        yield from (
            Path(here) / name for name in sorted(names) if not name.startswith(".") and not name.endswith(".partial")
        )


def _copy_archive(archive: Path, copies: FileCopies, prefix: str) -> None:
    """The index first: a body is stored before its line. Bodies that have no line yet do no harm."""
    for _ in range(MAX_TRIES):
        inode = (archive / INDEX).stat().st_ino
        for name in (INDEX, REMOVED):
            if (archive / name).exists():
                copies.replace(without_open_line((archive / name).read_bytes()), f"{prefix}/{name}")
        for file in stored_files(archive):
            copies.copy(file, f"{prefix}/{file.relative_to(archive).as_posix()}")
        if (archive / INDEX).stat().st_ino == inode:
            return
    raise HeadraceError(f"{archive}: the index was replaced {MAX_TRIES} times during the backup; try again")


def without_open_line(text: bytes) -> bytes:
    """An index without its last line if that is not complete, because it is being written."""
    rest, newline, last = text.rpartition(b"\n")
    return text if not last or decode_line(last) is not None else rest + newline


def merged_index(backup: bytes, current: bytes) -> bytes:
    """The lines of both indexes, each once: those that only the backup has come first, because they are older."""
    present = set(current.split(b"\n"))
    older = [line for line in backup.split(b"\n") if line not in present]
    return b"".join(b"\n" + line for line in [*older, *current.split(b"\n")] if line)


def copy_file(source: Path, target: Path) -> Copied:
    """Copy the bytes of a file and sync them. Only its owner can read the copy."""
    hasher, size_bytes = hashlib.sha256(), 0
    with source.open("rb") as reader, _private(target) as writer:
        while chunk := reader.read(CHUNK_BYTES):
            hasher.update(chunk)
            size_bytes += writer.write(chunk)
    return Copied(size_bytes, hasher.hexdigest())


def write_file(target: Path, content: bytes) -> None:
    """Write and sync a file that only its owner can read."""
    with _private(target) as writer:
        writer.write(content)


def digest_of(file: Path) -> Copied:
    hasher, size_bytes = hashlib.sha256(), 0
    with file.open("rb") as reader:
        while chunk := reader.read(CHUNK_BYTES):
            hasher.update(chunk)
            size_bytes += len(chunk)
    return Copied(size_bytes, hasher.hexdigest())


def sync_folders(folder: Path) -> None:
    """Make the names below a folder survive a power cut."""
    for here, _, _ in os.walk(folder):
        DiskFiles().sync(Path(here))


@contextmanager
def _private(target: Path) -> Iterator[BinaryIO]:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as writer:
        yield writer
        writer.flush()
        os.fsync(writer.fileno())
