"""Opens a backup, a folder or a tar file, and compares its files with its manifest."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.backup.files import digest_of
from headrace.backup.manifest import MANIFEST, BackupManifest, decode_manifest
from shared.errors import ConfigError, HeadraceError

MAX_MANIFEST_BYTES = 256 << 20
MAX_SHOWN = 5


@contextmanager
def opened_backup(place: Path) -> Iterator[Path]:
    """The folder of a backup. A tar file is unpacked next to it, and removed at the end.

    Raises ConfigError if the place is not a backup.
    """
    if place.is_dir():
        yield place
        return
    if not place.is_file():
        raise ConfigError(f"there is no backup at {place}")
    folder = Path(tempfile.mkdtemp(prefix=f".{place.name}.unpacked-", dir=place.parent))
    try:
        try:
            with tarfile.open(place) as tar:
                tar.extractall(folder, filter="data")
        except tarfile.TarError as error:
            raise ConfigError(f"{place} is not a backup: {error}") from error
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_manifest(folder: Path) -> BackupManifest:
    """Raises ConfigError if there is none, or if it cannot be read."""
    file = folder / MANIFEST
    if not file.is_file():
        raise ConfigError(f"{folder} is not a complete backup: it has no {MANIFEST}, which is written last")
    if file.stat().st_size > MAX_MANIFEST_BYTES:
        raise ConfigError(f"{file} has more than {MAX_MANIFEST_BYTES:,} bytes: it is not the manifest of a backup")
    return decode_manifest(file.read_bytes(), file)


def problems_of(folder: Path, manifest: BackupManifest) -> list[str]:
    """What is missing or differs, one line for each file."""
    problems = []
    for file in manifest.files:
        path = folder / file.path
        if path.is_symlink() or not path.is_file():
            problems.append(f"{file.path} is missing")
            continue
        size_bytes, sha256 = digest_of(path)
        if size_bytes != file.size_bytes:
            problems.append(f"{file.path}: expected {file.size_bytes:,} bytes, found {size_bytes:,}")
        elif sha256 != file.sha256:
            problems.append(f"{file.path}: its content does not match its SHA-256")
    return problems


def require_intact(folder: Path) -> BackupManifest:
    """The manifest of a backup whose files are as it says. Raises ConfigError or HeadraceError."""
    manifest = read_manifest(folder)
    if problems := problems_of(folder, manifest):
        more = f" and {len(problems) - MAX_SHOWN} more" if len(problems) > MAX_SHOWN else ""
        raise HeadraceError(f"{folder} is damaged: {'; '.join(problems[:MAX_SHOWN])}{more}")
    return manifest
