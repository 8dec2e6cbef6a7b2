"""Stores responses by service, caller and idempotency key, in ops.idempotency.

Every function runs within the transaction of the change that the response belongs to.
"""

from __future__ import annotations

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection
from shared.ops.idempotency import RETENTION_H, StoredResponse

_AGE = f"interval '{RETENTION_H} hours'"
# Each insert deletes up to this many expired rows, so the table does not grow without bound.
_MAX_DELETED_ROWS = 10


def reserve(connection: DbConnection, service: str, subject: str, key: str) -> bool:
    """Locks the key until the end of the transaction. Returns False if another transaction holds it."""
    row = connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, hashtext('headrace idempotency')))",
        (f"{service}\n{subject}\n{key}",),
    ).fetchone()
    return bool(row and row[0])


def find(connection: DbConnection, service: str, subject: str, key: str) -> StoredResponse | None:
    """The stored response. Call after `reserve`: a separate statement sees rows committed before the lock was free."""
    row = connection.execute(
        "SELECT request_digest, status, headers, body FROM ops.idempotency"
        f" WHERE service = %s AND subject = %s AND key = %s AND created_at > now() - {_AGE}",
        (service, subject, key),
    ).fetchone()
    return None if row is None else StoredResponse(*row)


def store(connection: DbConnection, service: str, subject: str, key: str, answer: StoredResponse) -> None:
    connection.execute(
        "DELETE FROM ops.idempotency WHERE service = %s AND subject = %s AND key = %s", (service, subject, key)
    )
    # One transaction at a time: two that delete the same rows would wait for each other.
    connection.execute(
        "DELETE FROM ops.idempotency WHERE ctid IN (SELECT ctid FROM ops.idempotency"
        f" WHERE created_at <= now() - {_AGE} ORDER BY created_at LIMIT %s)"
        " AND pg_try_advisory_xact_lock(hashtext('headrace idempotency sweep'))",
        (_MAX_DELETED_ROWS,),
    )
    connection.execute(
        "INSERT INTO ops.idempotency (service, subject, key, request_digest, status, headers, body)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (service, subject, key, answer.request_digest, answer.status, Jsonb(answer.headers), Jsonb(answer.body)),
    )
