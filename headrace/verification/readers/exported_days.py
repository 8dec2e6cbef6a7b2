"""Compares the published files of days with the rows of the same moment."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from headrace.verification.inconsistency import EXPORT, Inconsistency
from services.loader.exports.manifest import manifest_path
from services.loader.exports.staging import StagingArea, described
from services.loader.exports.target import Target
from shared.database.connection import DbConnection

DAYS_AT_A_TIME = 16
_DAYS = (
    "SELECT date, sum(touched)::bigint FROM facts.export_days GROUP BY date HAVING bool_and(touched <= exported)"
    " ORDER BY date"
)
_TABLE = "exports"


def file_differences(
    snapshot: DbConnection, current: DbConnection, target: Target, advance: Callable[[int], object]
) -> Iterator[Inconsistency]:
    """Days that are written completely. A day that changes meanwhile is left out: `current` reads the newest state."""
    days = dict(snapshot.execute(_DAYS).fetchall())
    for start in range(0, len(days), DAYS_AT_A_TIME):
        part = sorted(days)[start : start + DAYS_AT_A_TIME]
        with tempfile.TemporaryDirectory() as folder:
            staged = StagingArea(Path(folder)).fill(snapshot, part)
            expected = {
                day: {each.table: (each.rows, described(each, each.file, day, "csv").sha256) for each in staged[day]}
                for day in part
            }
        for day in part:
            differences = list(_of_day(day, expected[day], target))
            if differences and dict(current.execute(_DAYS).fetchall()).get(day) == days[day]:
                yield from differences
        advance(len(part))


def _of_day(day: date, expected: Mapping[str, tuple[int, str]], target: Target) -> Iterator[Inconsistency]:
    content = target.read(manifest_path(day))
    remedy = EXPORT.replace("DAY", day.isoformat())
    try:
        manifest: dict[str, Any] = orjson.loads(content or b"")
        files = [(f["table"], f["format"], f["path"], f["rows"], f["sha256"]) for f in manifest["files"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        actual = "absent" if content is None else "not readable"
        yield Inconsistency(_TABLE, manifest_path(day), "a manifest", actual, remedy)
        return
    for table, file_format, path, rows, sha256 in files:
        stored = target.read(path)
        if stored is None:
            yield Inconsistency(_TABLE, path, "a file", "absent", remedy)
        elif (digest := hashlib.sha256(stored).hexdigest()) != sha256:
            yield Inconsistency(_TABLE, path, f"sha256 {sha256}", f"sha256 {digest}", remedy)
        elif rows != expected[table][0]:
            yield Inconsistency(_TABLE, path, f"{expected[table][0]} rows", f"{rows} rows", remedy)
        elif file_format == "csv" and sha256 != expected[table][1]:
            yield Inconsistency(_TABLE, path, "the rows of the database", "other rows", remedy)
    for table in sorted(expected.keys() - {each[0] for each in files}):
        yield Inconsistency(_TABLE, f"{day} {table}", "a file in the manifest", "absent", remedy)
