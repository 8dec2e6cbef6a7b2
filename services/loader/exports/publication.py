"""Publishes the files of a day at a target, so that the day's manifest names only complete files at every moment.

A killed process leaves the previous manifest with all its files. Steps:

1. The day becomes pending (`.pending/DAY`).
2. Data files are stored under names that contain the hash of their content, so no file that a manifest names changes.
3. The newest CSV files get their fixed names, one by one.
4. The manifest is replaced.
5. After a grace period for readers of the previous manifest, the files that the manifest does not name are removed, and
   the day is no longer pending. `remove_superseded` can be repeated, also by another process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from services.loader.exports.manifest import (
    PENDING,
    DataFile,
    Manifest,
    data_folders,
    fixed_csv_path,
    generation_of,
    manifest_path,
    paths_of,
    pending_path,
)
from services.loader.exports.tables import TABLES
from services.loader.exports.target import Target


def publish(
    target: Target,
    day: date,
    files: Sequence[tuple[DataFile, Path]],
    manifest_of: Callable[[int, Sequence[DataFile]], Manifest],
    verify_lock: Callable[[], object],
) -> None:
    """Store local files of a day. `manifest_of` makes the manifest from its generation and files.

    `verify_lock` raises an error if this process may no longer write the day. Raises ExportError.
    """
    target.write(b"", pending_path(day))
    previous = target.read(manifest_path(day))
    for entry, file in files:
        target.store(file, entry.path)
    for entry, _ in files:
        if entry.format == "csv":
            target.copy(entry.path, fixed_csv_path(day, entry.table))
    manifest = manifest_of(generation_of(previous) + 1, [entry for entry, _ in files])
    verify_lock()
    target.write(manifest.encode(), manifest_path(day))


def remove_superseded(target: Target, day: date) -> None:
    """Remove the data files of a day that its manifest does not name. The caller holds the day's lock."""
    current = paths_of(target.read(manifest_path(day)))
    stored = [name for folder in data_folders(day) for name in target.names(folder)]
    target.remove(name for name in stored if name not in current)
    if current and not any(name.endswith(".csv") for name in current):
        fixed = {fixed_csv_path(day, table) for table in TABLES}
        target.remove(name for name in target.names(day.isoformat()) if name in fixed)
    target.remove([pending_path(day)])


def pending_days(target: Target) -> list[date]:
    """Days with files that may have to be removed."""
    return [date.fromisoformat(name.rsplit("/", 1)[1]) for name in target.names(PENDING)]
