"""Puts the files of a backup into a data directory. Files that are not in the backup stay."""

from __future__ import annotations

import shutil
from pathlib import Path

from headrace.backup.files import STATE_FILES, DataFolders, copy_file, digest_of, merged_index, sync_folders, write_file
from headrace.backup.manifest import FILES, BackupManifest
from services.fetcher.archive.index import INDEX
from services.fetcher.archive.retention import REMOVED

_INDEXES = frozenset({f"archive/{INDEX}", f"archive/{REMOVED}"})
_STATES = frozenset(STATE_FILES)
_PARTIAL = ".restored"


def place_files(folder: Path, manifest: BackupManifest, folders: DataFolders) -> int:
    """Copy the files of the archive and the models that are missing or differ; returns the number of copies.

    The archive keeps the documents that were fetched after the backup: both indexes are joined. Raises OSError.
    """
    placed = 0
    for path, sha256 in _files_of(manifest):
        source, target = folder / FILES / path, folders.place_of(path)
        if path in _STATES or path in _INDEXES:
            continue
        if not target.is_file() or digest_of(target).sha256 != sha256:
            _replace(source, target)
            placed += 1
    for path, _ in _files_of(manifest):  # after the files that it names
        if path in _INDEXES:
            _join_index(folder / FILES / path, folders.place_of(path))
            placed += 1
    for part in manifest.parts:
        sync_folders(folders.place_of(f"{part}/"))
    return placed


def place_state_files(folder: Path, manifest: BackupManifest, folders: DataFolders) -> None:
    """The states of the models and the state of a demonstration, which belong to the rows."""
    for path, _ in _files_of(manifest):
        if path in _STATES:
            _replace(folder / FILES / path, folders.place_of(path))


def _files_of(manifest: BackupManifest) -> list[tuple[str, str]]:
    """Paths in the data directory with their SHA-256."""
    prefix = f"{FILES}/"
    return [(file.path.removeprefix(prefix), file.sha256) for file in manifest.files if file.path.startswith(prefix)]


def _join_index(source: Path, target: Path) -> None:
    current = target.read_bytes() if target.exists() else b""
    if joined := merged_index(source.read_bytes(), current):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + _PARTIAL)
        write_file(partial, joined)
        partial.replace(target)


def _replace(source: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}{_PARTIAL}")
    copy_file(source, partial)
    partial.replace(target)
