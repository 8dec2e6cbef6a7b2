"""Time travel: a database that holds only what was known at one instant, and never anything else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg

from shared.errors import ConfigError

ELSEWHERE = "give this run a --data-dir (or --database) of its own"


def require_horizon(connection: psycopg.Connection[Any], as_of: datetime | None) -> None:
    """Note the instant in a fresh database. Raises ConfigError where what is loaded belongs to another one.

    What was left out was left out for good: its records are read. So an instant, once chosen, stays.
    """
    found = connection.execute("SELECT as_of FROM facts.horizon").fetchone()
    before = found[0].astimezone(UTC) if found else None
    wanted = as_of.astimezone(UTC) if as_of else None
    if before == wanted:
        return
    if before is not None:
        asked = "this run asks for all there is" if wanted is None else f"this run asks for {wanted.isoformat()}"
        raise ConfigError(f"this database shows what was known at {before.isoformat()}, and {asked}: {ELSEWHERE}")
    if connection.execute("SELECT FROM facts.versions LIMIT 1").fetchone() is not None:
        raise ConfigError(f"this database is in use already, and knows more than --as-of allows: {ELSEWHERE}")
    connection.execute("INSERT INTO facts.horizon (as_of) VALUES (%s)", (wanted,))
