"""Writes the rows of days into local CSV files, from which the published files are made."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import NamedTuple

from services.loader.exports.manifest import DataFile, Format, data_path
from services.loader.exports.postgres_days import csv_lines
from services.loader.exports.tables import TABLES
from shared.database.connection import DbConnection


class StagedCsv(NamedTuple):
    """A local CSV file with the rows of one table of one day."""

    table: str
    file: Path
    rows: int


class StagingArea:
    """A local folder with one folder for each day that is being written.

    The days' locks protect it. Files of a process that was killed are removed when the day is written again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder_of(self, day: date) -> Path:
        return self._folder / day.isoformat()

    def fill(self, connection: DbConnection, days: Sequence[date]) -> dict[date, list[StagedCsv]]:
        """Write the rows of the days, one query for each table. Raises OSError if the disk refuses them."""
        for day in days:
            self.clear(day)
            self.folder_of(day).mkdir(parents=True)
        staged: dict[date, list[StagedCsv]] = {day: [] for day in days}
        for table in TABLES:
            for file in self._write_table(connection, table, days):
                staged[date.fromisoformat(file.file.parent.name)].append(file)
        return staged

    def clear(self, day: date) -> None:
        shutil.rmtree(self.folder_of(day), ignore_errors=True)

    def _write_table(self, connection: DbConnection, table: str, days: Sequence[date]) -> list[StagedCsv]:
        files = {day.isoformat(): self.folder_of(day) / f"{table}.csv" for day in days}
        counts = dict.fromkeys(files, 0)
        lines = csv_lines(connection, table, days)
        with ExitStack() as stack:
            writers = {day: stack.enter_context(file.open("wb")) for day, file in files.items()}
            _, header = next(lines)
            for writer in writers.values():
                writer.write(header)
            for day, line in lines:
                writers[day].write(line)
                counts[day] += 1
        return [StagedCsv(table, file, counts[day]) for day, file in files.items()]


def described(staged: StagedCsv, file: Path, day: date, file_format: Format) -> DataFile:
    """The entry of the manifest for a local file made from `staged`."""
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    path = data_path(day, staged.table, file_format, sha256)
    return DataFile(staged.table, file_format, path, staged.rows, file.stat().st_size, sha256)
