"""Compares the files of a pack with its manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from headrace.packs.contents import MANIFEST
from headrace.packs.manifest import BadPack, PackFile, PackManifest, decode


def read_manifest(folder: Path) -> PackManifest:
    """Raises BadPack."""
    try:
        return decode((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise BadPack(f"{folder} contains no pack: there is no {MANIFEST}") from None


def problems_of(folder: Path, manifest: PackManifest) -> list[str]:
    """One line for each file that is missing, differs from the manifest, or is not in it."""
    known = {MANIFEST, *(file.path for file in manifest.files)}
    stored = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    problems = [problem for file in manifest.files for problem in _problems_of_file(folder, file, manifest)]
    return [*problems, *(f"{path}: not in the manifest" for path in sorted(stored - known))]


def _problems_of_file(folder: Path, file: PackFile, manifest: PackManifest) -> Iterator[str]:
    path = folder / file.path
    if not path.resolve().is_relative_to(folder.resolve()):
        yield f"{file.path}: the path leads out of the pack"
        return
    if not path.is_file():
        yield f"{file.path}: missing"
        return
    if path.stat().st_size != file.bytes:
        yield f"{file.path}: expected {file.bytes} bytes, found {path.stat().st_size}"
        return
    with path.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
            yield f"{file.path}: the SHA-256 differs"
            return
    if file.view is not None:
        yield from _problems_of_rows(path, file, manifest)


def _problems_of_rows(path: Path, file: PackFile, manifest: PackManifest) -> Iterator[str]:
    """The hash is right; whether the manifest also tells the truth about rows and columns."""
    view = manifest.views.get(file.view or "")
    try:
        metadata = pyarrow.parquet.read_metadata(path)
    except pa.ArrowInvalid:
        yield f"{file.path}: not a Parquet file"
        return
    if metadata.num_rows != file.rows:
        yield f"{file.path}: expected {file.rows} rows, found {metadata.num_rows}"
    columns = [] if view is None else [each.name for each in view.columns if each.name != view.partitioned_by]
    names = metadata.schema.to_arrow_schema().names
    if names != columns:
        yield f"{file.path}: expected the columns {', '.join(columns)}, found {', '.join(names)}"
