"""Moves old entries of the audit trail from the database to a file of JSON lines."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import orjson

from services.fetcher.archive.files import DiskFiles
from shared.database.connection import DbConnection
from shared.errors import ConfigError
from shared.ops.tables import audit


def archive_trail(connection: DbConnection, file: Path, before: datetime, who: str) -> int:
    """Write the entries that are older than `before` to a new file, then delete them; returns their number.

    The file is synced before the entries are deleted. Raises ConfigError if the file exists, OSError if it cannot be
    written.
    """
    if file.exists():
        raise ConfigError(f"{file} exists: name a new file")
    partial = file.with_name(f".{file.name}.unfinished")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out, connection.transaction():
        connection.execute("LOCK TABLE ops.audit IN ACCESS EXCLUSIVE MODE")
        for entry in audit.entries_before(connection, before):
            out.write(orjson.dumps(entry._asdict()) + b"\n")
        out.flush()
        os.fsync(out.fileno())
        partial.rename(file)
        DiskFiles().sync(file.parent)
        deleted = audit.delete_before(connection, before)
        after = {"before": before.isoformat(), "entries": deleted, "file": file.name}
        audit.append(connection, "headrace", who, "archive", "trail", after=after, request_id="command")
    return deleted
