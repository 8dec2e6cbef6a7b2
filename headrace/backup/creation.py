"""Creates a backup of the database and of the data directory, beside running services.

The rows come first, from one snapshot, then the files. A file is stored before the row that refers to it is committed,
so each file that a row of the backup refers to is in the backup too. Files that are newer than the rows do no harm.

The backup is written to a folder with another name, which is renamed at the end: what has the name of a backup is
complete.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

from headrace.backup.files import DataFolders, FileCopies, ReportStep, copy_data_directory, sync_folders, write_file
from headrace.backup.manifest import DUMP, FILES, MANIFEST, SCHEMAS, BackupManifest
from headrace.backup.programs import PostgresProgram, find_program, run_program
from headrace.backup.verification import require_intact
from headrace.database.access import Access
from services.fetcher.archive.files import DiskFiles
from shared.broker.postgres.identity import database_id
from shared.errors import ConfigError, HeadraceError

TAR = ".tar"
# Most of the bytes are compressed already: the log, versions of facts.
COMPRESSION = "1"
_POSITIONS = """
SELECT g.grp, t.name || '/' || g.p, g.next_off FROM broker.positions g JOIN broker.topics t ON t.id = g.topic_id
ORDER BY 1, 2"""
_ENDS = """
SELECT t.name || '/' || p.p, p.end_off FROM broker.partitions p JOIN broker.topics t ON t.id = p.topic_id ORDER BY 1"""


def create_backup(access: Access, folders: DataFolders, target: Path, report: ReportStep) -> BackupManifest:
    """Write a backup to a new folder, or to a new file if the name ends in `.tar`, and check it.

    Raises ConfigError if the target exists, HeadraceError or OSError if the backup cannot be made.
    """
    if target.exists() and not _is_empty_folder(target):
        raise ConfigError(f"{target} exists: name a new folder, or a new file that ends in {TAR}")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(target)
    folder = Path(tempfile.mkdtemp(prefix=_unfinished_prefix(target), dir=target.parent))  # mode 0700
    try:
        manifest = _fill(access, folders, folder, report)
        report("checking the backup")
        require_intact(folder)
        if target.suffix == TAR:
            report("writing the file")
            _pack(folder, target)
        else:
            sync_folders(folder)
            folder.rename(target)
        DiskFiles().sync(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def remove_unfinished(target: Path) -> None:
    """Remove what killed backups to the same target left."""
    for leftover in target.parent.glob(f"{_unfinished_prefix(target)}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _fill(access: Access, folders: DataFolders, folder: Path, report: ReportStep) -> BackupManifest:
    copies = FileCopies(folder, report)
    with access.connect("headrace backup") as connection, _snapshot(connection) as snapshot:
        described = _describe(connection)
        program = find_program("pg_dump", described.server_version // 10_000, embedded=access.server is not None)
        report("dumping the database")
        _dump(program, access, snapshot, folder / DUMP)
    copies.add(DUMP)
    report("copying files")
    parts = copy_data_directory(folders, copies, FILES)
    manifest = described.model_copy(update={"dump_version": program.major, "parts": parts, "files": copies.files})
    write_file(folder / MANIFEST, manifest.encode())
    return manifest


@contextmanager
def _snapshot(connection: psycopg.Connection[tuple[object, ...]]) -> Iterator[str]:
    """The id of a snapshot that pg_dump can use until the block ends."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        yield str(row and row[0])


def _describe(connection: psycopg.Connection[tuple[object, ...]]) -> BackupManifest:
    """The manifest without files."""
    positions: dict[str, dict[str, int]] = {}
    for group, place, offset in connection.execute(_POSITIONS):
        positions.setdefault(str(group), {})[str(place)] = int(str(offset))
    kind = connection.execute("SELECT kind FROM broker.kind").fetchone()
    applied = connection.execute("SELECT area || '/' || number FROM ops.migrations ORDER BY area, number").fetchall()
    return BackupManifest(
        headrace=version("headrace"),
        taken_at=datetime.now(UTC),
        database=connection.info.dbname,
        database_id=database_id(connection),
        server_version=connection.info.server_version,
        dump_version=0,
        broker=None if kind is None else str(kind[0]),
        migrations=[str(name) for (name,) in applied],
        positions=positions,
        ends={str(place): int(str(offset)) for place, offset in connection.execute(_ENDS)},
        parts=[],
        files=[],
    )


def _dump(program: PostgresProgram, access: Access, snapshot: str, file: Path) -> None:
    file.touch(mode=0o600)
    schemas = [f"--schema={schema}" for schema in SCHEMAS]
    run_program(
        program,
        ["--format=custom", f"--compress={COMPRESSION}", "--no-owner", f"--snapshot={snapshot}", *schemas,
         f"--file={file}"],
        access.owner(),
    )  # fmt: skip
    restore = find_program("pg_restore", program.major, embedded=access.server is not None)
    run_program(restore, [f"--file={os.devnull}", str(file)])  # reads all of it
    DiskFiles().sync(file)


def _pack(folder: Path, target: Path) -> None:
    partial = target.with_name(f"{_unfinished_prefix(target)}tar")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(folder, arcname="")
        file.flush()
        os.fsync(file.fileno())
    if target.exists():
        raise HeadraceError(f"{target} was written by another process during the backup")
    partial.rename(target)


def _unfinished_prefix(target: Path) -> str:
    return f".{target.name}.unfinished-"


def _is_empty_folder(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir()) and folder.suffix != TAR
