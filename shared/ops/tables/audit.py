"""Appends to and reads the audit trail in ops.audit: who changed what, when, and the outcome.

Rows are never updated. Only the owner can delete them (`delete_before`). Every function runs within the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection


class AuditRow(NamedTuple):
    """A row of ops.audit. `outcome` is `accepted`, or the reason of the refusal."""

    id: int
    at: datetime
    service: str
    who: str
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    outcome: str
    request_id: str


def append(
    connection: DbConnection,
    service: str,
    who: str,
    action: str,
    target: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    outcome: str = "accepted",
    request_id: str = "",
) -> None:
    connection.execute(
        "INSERT INTO ops.audit (service, who, action, target, before, after, outcome, request_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            service, who, action, target, None if before is None else Jsonb(before),
            None if after is None else Jsonb(after), outcome, request_id,
        ),
    )  # fmt: skip


def list_entries(
    connection: DbConnection, service: str | None = None, *, before_id: int | None = None, limit: int = 100
) -> list[AuditRow]:
    """Entries, the newest first; `before_id` limits them to entries older than this id."""
    rows = connection.execute(
        "SELECT id, at, service, who, action, target, before, after, outcome, request_id FROM ops.audit"
        " WHERE coalesce(service = %s, true) AND coalesce(id < %s, true) ORDER BY id DESC LIMIT %s",
        (service, before_id, limit),
    ).fetchall()
    return [AuditRow(*row) for row in rows]


def entries_before(connection: DbConnection, at: datetime) -> Iterator[AuditRow]:
    """The entries older than a time, the oldest first. They are read in parts."""
    with connection.cursor(name="audit_entries") as cursor:
        cursor.execute(
            "SELECT id, at, service, who, action, target, before, after, outcome, request_id FROM ops.audit"
            " WHERE at < %s ORDER BY id",
            (at,),
        )
        yield from (AuditRow(*row) for row in cursor)


def delete_before(connection: DbConnection, at: datetime) -> int:
    """Delete the entries older than a time; returns their number. Only the owner of the table may do it."""
    connection.execute("LOCK TABLE ops.audit IN ACCESS EXCLUSIVE MODE")
    connection.execute("ALTER TABLE ops.audit DISABLE TRIGGER append_only")
    deleted = connection.execute("DELETE FROM ops.audit WHERE at < %s", (at,)).rowcount
    connection.execute("ALTER TABLE ops.audit ENABLE TRIGGER append_only")
    return deleted
