"""Appends to and reads the audit trail in ops.audit: who changed what, when, and the outcome.

Rows are never updated or deleted, but the owner can drop whole months. Every function runs within the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from psycopg import sql
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
    connection.execute("SELECT ops.prepare_audit()")  # creates the partition of a new month
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
    """Drop the months before the one that begins at `at` (UTC); returns their number of entries. Only the owner of the
    table may do it."""
    row = connection.execute("SELECT count(*) FROM ops.audit WHERE at < %s", (at,)).fetchone()
    months = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'ops.audit'::regclass AND c.relname < %s",
        (f"audit_{at.astimezone(UTC):%Y_%m}",),
    ).fetchall()
    for (name,) in months:
        connection.execute(sql.SQL("DROP TABLE ops.{}").format(sql.Identifier(name)))
    return 0 if row is None else int(row[0])
