"""The file operations of an archive: what they write, and what of it survives a power cut.

The bytes of a file survive once the file is synced, its name once its folder is. A test replaces the disk by an
implementation that forgets the rest.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

# The default. Given explicitly, it saves the question whether the file is a terminal.
BUFFER_BYTES = 8192


class Files(Protocol):
    """Every method raises OSError."""

    def make_folder(self, path: Path) -> None:
        """Create one folder, unless it exists."""
        ...

    def write(self, path: Path, content: bytes) -> None:
        """Create a file, or replace its content. Raises FileNotFoundError if its folder does not exist."""
        ...

    def append(self, path: Path, content: bytes) -> None:
        """Append to a file, which is created if needed. Waits while another process replaces it."""
        ...

    def rename(self, path: Path, target: Path) -> None: ...

    def sync(self, path: Path) -> None:
        """Sync the bytes of a file, or the names in a folder."""
        ...


class DiskFiles:
    """The Files of this machine."""

    def make_folder(self, path: Path) -> None:
        path.mkdir(exist_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        with path.open("wb", BUFFER_BYTES) as file:
            file.write(content)

    def append(self, path: Path, content: bytes) -> None:
        with locked(path) as file:
            file.write(content)

    def rename(self, path: Path, target: Path) -> None:
        path.replace(target)

    def sync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems cannot sync a folder. They write names at once.
            if error.errno != errno.EINVAL or not path.is_dir():
                raise
        finally:
            os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """The file opened to append, and locked against the same in other threads and processes.

    A process that replaces the file holds the lock of the old one. After the wait the old file no longer has this
    name, and the new one is opened.
    """
    while True:
        with path.open("ab", BUFFER_BYTES) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_named(file, path):
                yield file
                return


def _is_named(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
