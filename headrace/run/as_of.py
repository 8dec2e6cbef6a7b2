"""Time travel: binds a database to one instant, so that it holds only what was known then."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg

from shared.errors import ConfigError

ELSEWHERE = "give this run a --data-dir (or --database) of its own"


def require_as_of(connection: psycopg.Connection[Any], as_of: datetime | None) -> None:
    """Record the instant in a fresh database. Raises ConfigError if the database is bound to another one.

    The instant cannot change later: records that it left out have been read and are not read again.
    """
    row = connection.execute("SELECT as_of FROM facts.horizon").fetchone()
    before = row[0].astimezone(UTC) if row else None
    wanted = as_of.astimezone(UTC) if as_of else None
    if before == wanted:
        return
    if before is not None:
        request = "this run has no --as-of" if wanted is None else f"this run asks for --as-of {wanted.isoformat()}"
        raise ConfigError(f"this database shows what was known at {before.isoformat()}, and {request}: {ELSEWHERE}")
    if connection.execute("SELECT FROM facts.versions LIMIT 1").fetchone() is not None:
        raise ConfigError(f"this database is in use already and may know more than --as-of allows: {ELSEWHERE}")
    connection.execute("INSERT INTO facts.horizon (as_of) VALUES (%s)", (wanted,))
