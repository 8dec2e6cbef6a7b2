"""Writes packs: the views of a span of days as Parquet, read from one snapshot.

Memory is bounded by one day of one view. A pack appears in a folder when it is complete; under a URL its manifest is
written last.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from headrace.packs import texts
from headrace.packs.contents import DICTIONARY, LICENCE, MANIFEST, README, PackedView
from headrace.packs.manifest import BadPack, PackFile, PackManifest, PackView
from services.fetcher.sources.yaml_file import load_source
from services.loader.exports.object_storage import ObjectStorageTarget
from services.loader.exports.parquet import write_parquet
from services.loader.exports.target import FolderTarget, Target
from shared.errors import ConfigError

LicenceOf = Callable[[str], str | None]
Connection = psycopg.Connection[Any]
_COPY = "COPY ({}) TO STDOUT WITH (FORMAT csv, HEADER)"


def declared_licence(source: str) -> str | None:
    """The licence in the declaration of a source that Headrace ships; None for other sources."""
    try:
        return load_source(source).licence
    except ConfigError:
        return None


def write_pack(
    connection: Connection,
    views: Sequence[PackedView],
    days: tuple[date | None, date | None],
    to: str,
    options: Mapping[str, str] | None = None,
    licence_of: LicenceOf = declared_licence,
) -> PackManifest:
    """Write a pack to a new or empty folder, or to an fsspec URL without a pack. `options`: of the URL's file system.

    `connection`: in autocommit mode, of a role that reads the schema `analytics`. `days`: the first and the last day of
    the rows of `views`; None: without limit. Raises BadPack if there is something at `to` already or nothing in the
    database, ExportError if the target fails.
    """
    with _new_target(to, options or {}) as (target, work), connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        as_of, sources = _snapshot(connection, days)
        files = tuple(file for view in views for file in _write_view(connection, view, target, work))
        manifest = PackManifest(
            first_day=days[0],
            last_day=days[1],
            as_of=as_of,
            headrace_version=version("headrace"),
            sources=sources,
            licences={source: licence_of(source) for source in sources},
            views={view.name: _described(view, files) for view in views},
            files=files,
        )
        manifest = manifest.model_copy(update={"files": (*files, *_write_texts(manifest, target))})
        target.write(manifest.encode(), MANIFEST)
    return manifest


@contextmanager
def _new_target(to: str, options: Mapping[str, str]) -> Iterator[tuple[Target, Path]]:
    """The target, and a folder for files in work, on the same file system if the target is a folder."""
    if "://" in to:
        target = ObjectStorageTarget(to, options)
        if target.read(MANIFEST) is not None:
            raise BadPack(f"{to} contains a pack: remove it, or name another place")
        with tempfile.TemporaryDirectory() as work:
            yield target, Path(work)
        return
    folder = Path(to).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadPack(f"{to} exists and is not an empty folder: remove it, or name another one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as work:
        yield FolderTarget(Path(work) / "pack"), Path(work)
        (Path(work) / "pack").replace(folder)


def _snapshot(connection: Connection, days: tuple[date | None, date | None]) -> tuple[datetime, tuple[str, ...]]:
    """The time of the snapshot and the sources that have sessions on the days."""
    row = connection.execute(
        "SELECT now(), array_agg(DISTINCT source ORDER BY source) FROM analytics.sessions"
        " WHERE date BETWEEN coalesce(%s::date, '-infinity') AND coalesce(%s::date, 'infinity')",
        days,
    ).fetchone()
    if row is None or row[1] is None:
        raise BadPack(f"nothing is loaded for {days[0] or '..'} to {days[1] or '..'}")
    return row[0].astimezone(UTC), tuple(row[1])


def _write_view(connection: Connection, view: PackedView, target: Target, work: Path) -> Iterator[PackFile]:
    """Store one file for each day, or one for a view without days, and yield their entries."""
    csv_file, parquet_file = work / f"{view.name}.csv", work / f"{view.name}.parquet"
    query = sql.SQL(_COPY).format(sql.SQL(view.statement))
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        lines = (bytes(line).partition(b",") for line in copy)
        _, _, header = next(lines)
        for day_text, rows in groupby(lines, lambda line: line[0]) if view.is_dated else [(b"", lines)]:
            count = _write_csv(csv_file, header, (line for _, _, line in rows))
            write_parquet(csv_file, view.types, parquet_file)
            day = date.fromisoformat(day_text.decode()) if view.is_dated else None
            yield _store(target, parquet_file, view, day, count)


def _write_csv(file: Path, header: bytes, lines: Iterator[bytes]) -> int:
    count = 0
    with file.open("wb") as content:
        content.write(header)
        for line in lines:
            content.write(line)
            count += 1
    return count


def _store(target: Target, file: Path, view: PackedView, day: date | None, rows: int) -> PackFile:
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    entry = PackFile(
        path=view.path_of(day), view=view.name, day=day, rows=rows, bytes=file.stat().st_size, sha256=sha256
    )
    target.store(file, entry.path)
    return entry


def _described(view: PackedView, files: tuple[PackFile, ...]) -> PackView:
    rows = sum(file.rows or 0 for file in files if file.view == view.name)
    partition = "date" if view.is_dated else None
    return PackView(
        meaning=view.meaning, key=tuple(view.key), partitioned_by=partition, rows=rows, columns=tuple(view.columns)
    )


def _write_texts(manifest: PackManifest, target: Target) -> Iterator[PackFile]:
    names = {"dictionary": DICTIONARY, "licence": LICENCE, "manifest": MANIFEST}
    contents = {
        README: texts.readme(manifest, names),
        DICTIONARY: texts.dictionary(manifest),
        LICENCE: texts.licence(manifest.licences),
    }
    for name, text in contents.items():
        content = text.encode()
        target.write(content, name)
        yield PackFile(path=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
