"""Where exports are stored: the interface, and a folder of this machine.

object_storage.py has the implementation for URLs.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from shared.errors import HeadraceError


class ExportError(HeadraceError):
    """A file cannot be made or stored. The message has the cause and no credentials."""


class Target(Protocol):
    """Files by name, with `/` between folders. A file appears or changes at once. Several threads may use it, each for
    other files. Each method may raise ExportError."""

    def store(self, file: Path, name: str) -> None:
        """Store the content of a local file, which is moved or stays."""

    def write(self, content: bytes, name: str) -> None: ...

    def copy(self, source: str, name: str) -> None: ...

    def read(self, name: str) -> bytes | None:
        """The content; None if there is no such file."""

    def names(self, folder: str) -> list[str]:
        """The files directly in a folder, with the folder in their names; empty if there is none."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; a file that does not exist is ignored."""


class FolderTarget:
    """A folder. Local files are renamed into it, so they must be on the same file system."""

    def __init__(self, folder: Path, sync: Callable[[Path], None] | None = None) -> None:
        """`sync` makes the bytes of a file, or the names in a folder, survive a power cut."""
        self._folder = folder
        self._sync = sync or sync_path
        self._folders = threading.Lock()

    def __str__(self) -> str:
        return str(self._folder)

    def store(self, file: Path, name: str) -> None:
        with _as_export_error():
            target = self._file(name)
            self._sync(file)
            file.replace(target)
            self._sync(target.parent)

    def write(self, content: bytes, name: str) -> None:
        with _as_export_error():
            file = self._file(name)
            partial = _partial(file)
            partial.write_bytes(content)
            self._sync(partial)
            partial.replace(file)
            self._sync(file.parent)

    def copy(self, source: str, name: str) -> None:
        """A hard link if the file system has them: both names share the content, which never changes."""
        with _as_export_error():
            file = self._file(name)
            partial = _partial(file)
            partial.unlink(missing_ok=True)
            try:
                os.link(self._folder / source, partial)
            except OSError:
                shutil.copyfile(self._folder / source, partial)
                self._sync(partial)
            partial.replace(file)
            self._sync(file.parent)
            partial.unlink(missing_ok=True)  # rename does nothing if both names are already the same file

    def read(self, name: str) -> bytes | None:
        with _as_export_error():
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        with _as_export_error():
            try:
                files = [file for file in (self._folder / folder).iterdir() if file.is_file()]
            except FileNotFoundError:
                return []
            return sorted(f"{folder}/{file.name}" for file in files if not file.name.startswith("."))  # partial files

    def remove(self, names: Iterable[str]) -> None:
        with _as_export_error():
            for name in names:
                file = self._folder / name
                file.unlink(missing_ok=True)
                with suppress(OSError):  # it contains other files
                    file.parent.rmdir()

    def _file(self, name: str) -> Path:
        """The path of a file, whose folders are created and survive a power cut."""
        file = self._folder / name
        with self._folders:  # a folder that another thread creates exists before its name is synced
            missing = [folder for folder in file.parents if not folder.exists()]
            file.parent.mkdir(parents=True, exist_ok=True)
            for folder in missing:
                self._sync(folder.parent)
        return file


def sync_path(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder. They write names at once.
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _partial(file: Path) -> Path:
    return file.with_name(f".{file.name}.part")


@contextmanager
def _as_export_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(error.strerror or type(error).__name__) from error
