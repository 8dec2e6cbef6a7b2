"""Stores the results of `headrace audit --record` in ops.audit_results. Runs within the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection

# A result a day for three years; older ones are deleted.
KEPT_RESULTS = 1000


class StoredAuditResult(NamedTuple):
    """Counts of records by fate, and of faults by kind."""

    at: datetime
    fates: dict[str, int]
    findings: dict[str, int]


def store(
    connection: DbConnection,
    fates: Mapping[str, int],
    findings: Mapping[str, int],
    window: tuple[str | None, str | None] = (None, None),
) -> None:
    """`window`: the first and the last day or time of the audit; None is unbounded."""
    connection.execute(
        "INSERT INTO ops.audit_results (window_from, window_to, fates, findings) VALUES (%s, %s, %s, %s)",
        (*window, Jsonb(dict(fates)), Jsonb(dict(findings))),
    )
    connection.execute(
        "DELETE FROM ops.audit_results WHERE id <= (SELECT max(id) FROM ops.audit_results) - %s", (KEPT_RESULTS,)
    )


def newest(connection: DbConnection) -> StoredAuditResult | None:
    row = connection.execute("SELECT at, fates, findings FROM ops.audit_results ORDER BY id DESC LIMIT 1").fetchone()
    return None if row is None else StoredAuditResult(*row)
