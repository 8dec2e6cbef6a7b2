"""The manifest of a day and the names of its files, all relative to the target.

The manifest names data files whose names contain the hash of their content, so a file under one name never changes.
Beside them, the newest CSV files of a day have fixed names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

import orjson

from services.loader.exports.tables import TABLES

Format = Literal["csv", "parquet"]
# Rises when a column of a file changes its type or is removed.
SCHEMA_VERSION = 1
# The column that a Parquet file has in its path, not in itself, as readers of partitioned data sets expect.
PARTITION_COLUMN = "date"
# A day has a file here from before its first new data file is stored until its superseded files are removed.
PENDING = ".pending"


class DataFile(NamedTuple):
    """One table of one day in one format. `path` is relative to the target."""

    table: str
    format: Format
    path: str
    rows: int
    bytes: int
    sha256: str


class Manifest(NamedTuple):
    """What is published for a day. `complete`: all its events have ended. `generation` rises with each publication."""

    date: date
    sources: Sequence[str]
    complete: bool
    generation: int
    written_at: datetime
    files: Sequence[DataFile]

    def encode(self) -> bytes:
        body = {
            "date": self.date,
            "sources": self.sources,
            "complete": self.complete,
            "rows": {file.table: file.rows for file in self.files},
            "generation": self.generation,
            "schema_version": SCHEMA_VERSION,
            "written_at": self.written_at,
            "files": [file._asdict() for file in self.files],
        }
        return orjson.dumps(body, option=orjson.OPT_INDENT_2)


def manifest_path(day: date) -> str:
    return f"{day}/manifest.json"


def pending_path(day: date) -> str:
    return f"{PENDING}/{day}"


def fixed_csv_path(day: date, table: str) -> str:
    """The path under which the newest CSV file of a table is found without the manifest."""
    return f"{day}/{table}.csv"


def data_path(day: date, table: str, file_format: Format, sha256: str) -> str:
    """The path of a data file. 64 bits of the hash: a day has few files of a table at a time."""
    if file_format == "csv":
        return f"{day}/by-hash/{table}-{sha256[:16]}.csv"
    return f"{table}/date={day}/part-{sha256[:16]}.parquet"


def data_folders(day: date) -> Iterator[str]:
    """The folders that contain only data files of the day."""
    yield f"{day}/by-hash"
    yield from (f"{table}/date={day}" for table in TABLES)


def generation_of(content: bytes | None) -> int:
    """The generation of a stored manifest; 0 if there is none or if it is not readable as one."""
    body = _body(content)
    generation = body.get("generation")
    return generation if isinstance(generation, int) else 0


def paths_of(content: bytes | None) -> set[str]:
    """The paths of the data files that a stored manifest names."""
    files = _body(content).get("files")
    return {str(file["path"]) for file in files} if isinstance(files, list) else set()


def _body(content: bytes | None) -> dict[str, Any]:
    try:
        body = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
