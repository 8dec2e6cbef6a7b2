"""Files that know what would be left of them after a power cut: the rest is lost, as late as it may be."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from services.fetcher.archive.files import DiskFiles


@dataclass
class StoredFile:
    """The bytes of a file, and those of them that were synced."""

    content: bytes
    durable: bytes = b""


class PowerCutFiles:
    """Files on the disk, with a record of what was synced. `root` and its names are durable, except what is made below.

    A file has only its synced bytes after a cut, and a name exists only if its folder was synced after it was given.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._disk = DiskFiles()
        self._lock = threading.Lock()
        self._names: dict[Path, StoredFile | None] = {}
        self._durable_names: dict[Path, StoredFile | None] = {}

    def make_folder(self, path: Path) -> None:
        self._disk.make_folder(path)
        with self._lock:
            self._names.setdefault(path, None)

    def write(self, path: Path, content: bytes) -> None:
        self._disk.write(path, content)
        with self._lock:
            self._names[path] = StoredFile(content)

    def append(self, path: Path, content: bytes) -> None:
        with self._lock:
            self._disk.append(path, content)
            file = self._names.setdefault(path, StoredFile(b""))
            assert file is not None
            file.content += content

    def rename(self, path: Path, target: Path) -> None:
        with self._lock:
            self._disk.rename(path, target)
            self._names[target] = self._names.pop(path)

    def sync(self, path: Path) -> None:
        with self._lock:
            self._disk.sync(path)
            file = self._names.get(path)
            if file is not None:
                file.durable = file.content
                return
            for stale in [each for each in self._durable_names if each.parent == path and each not in self._names]:
                del self._durable_names[stale]
            self._durable_names |= {each: file for each, file in self._names.items() if each.parent == path}

    def cut(self, target: Path) -> Path:
        """Write what a power cut now would leave of `root` into the new folder `target`."""
        target.mkdir()
        for path, file in sorted(self._durable_names.items()):
            copy = target / path.relative_to(self._root)
            if not copy.parent.is_dir():
                continue  # the name of a folder above it is lost
            if file is None:
                copy.mkdir()
            else:
                copy.write_bytes(file.durable)
        return target
