"""Creates, lists and updates operations, in ops.operations. Runs within the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection
from shared.ops.operations import JOB_KINDS, Command, Operation, State, resting_state, wanted_after

LEASE_S = 10.0
CHANNEL = "headrace_operations"
_COLUMNS = (
    "id, service, kind, state, wanted, target, counts, progress, waiting_for, error, requested_by, request_id, worker,"
    " left_s, created_at, started_at, updated_at, finished_at"
)


def create(
    connection: DbConnection,
    service: str,
    kind: str,
    target: Mapping[str, Any],
    requested_by: str,
    request_id: str,
    state: State = "waiting",
) -> Operation:
    row = connection.execute(
        "INSERT INTO ops.operations (service, kind, state, target, requested_by, request_id)"
        f" VALUES (%s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}",
        (service, kind, state, Jsonb(target), requested_by, request_id),
    ).fetchone()
    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, service))
    assert row is not None  # noqa: S101  # RETURNING of an insert always gives the row
    return Operation(*row)


def get(
    connection: DbConnection, operation_id: str, service: str | None = None, *, lock: bool = False
) -> Operation | None:
    """An operation, or None. `lock` keeps other transactions from changing it until this one ends."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM ops.operations WHERE id = %s AND coalesce(service = %s, true)"
        + (" FOR UPDATE" if lock else ""),
        (operation_id, service),
    ).fetchone()
    return None if row is None else Operation(*row)


def list_operations(
    connection: DbConnection,
    service: str | None = None,
    *,
    kinds: Sequence[str] = (),
    states: Sequence[str] = (),
    before: str | None = None,
    limit: int = 100,
) -> list[Operation]:
    """Operations, the newest first; `before` limits them to operations older than this id."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM ops.operations WHERE coalesce(service = %(service)s, true)"
        " AND (%(kinds)s::text[] = '{}' OR kind = ANY(%(kinds)s))"
        " AND (%(states)s::text[] = '{}' OR state = ANY(%(states)s))"
        " AND coalesce(id < %(before)s, true) ORDER BY id DESC LIMIT %(limit)s",
        {"service": service, "kinds": list(kinds), "states": list(states), "before": before, "limit": limit},
    ).fetchall()
    return [Operation(*row) for row in rows]


def apply_command(connection: DbConnection, operation: Operation, command: Command) -> Operation:
    """Stores the wanted state of an operation that was read with `lock`; its worker obeys. Raises NotPossible.

    A job without a worker changes state at once. If the worker seems dead, the job first has to be claimed by another
    worker, which fences the former one: it may come back (shared/runtime/jobs/workers.py).
    """
    wanted = wanted_after(operation, command)
    connection.execute(
        "UPDATE ops.operations SET wanted = %(wanted)s, updated_at = clock_timestamp(),"
        " state = CASE WHEN worker IS NULL AND kind = ANY(%(jobs)s) THEN %(resting)s ELSE state END,"
        " finished_at = CASE WHEN worker IS NULL AND kind = ANY(%(jobs)s) AND %(wanted)s = 'cancel'"
        " THEN clock_timestamp() END WHERE id = %(id)s",
        {"id": operation.id, "wanted": wanted, "resting": resting_state(wanted), "jobs": list(JOB_KINDS)},
    )
    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, operation.service))
    after = get(connection, operation.id)
    assert after is not None  # noqa: S101  # rows are never deleted
    return after


def finish(
    connection: DbConnection,
    operation_id: str,
    state: State,
    error: str | None = None,
    counts: Mapping[str, Any] | None = None,
) -> None:
    """Ends an operation; one that has already ended is not changed."""
    connection.execute(
        "UPDATE ops.operations SET state = %(state)s, error = %(error)s, counts = coalesce(%(counts)s, counts),"
        " progress = CASE WHEN %(state)s = 'succeeded' THEN 1 ELSE progress END, waiting_for = NULL,"
        " left_s = NULL, finished_at = clock_timestamp(), updated_at = clock_timestamp(), lease_until = NULL"
        " WHERE id = %(id)s AND finished_at IS NULL",
        {"id": operation_id, "state": state, "error": error, "counts": None if counts is None else Jsonb(counts)},
    )


def set_waiting_for(connection: DbConnection, operation_id: str, reason: str | None) -> None:
    connection.execute(
        "UPDATE ops.operations SET waiting_for = %s, state = 'running', updated_at = clock_timestamp(),"
        " started_at = coalesce(started_at, clock_timestamp()) WHERE id = %s AND finished_at IS NULL"
        " AND (waiting_for IS DISTINCT FROM %s OR state = 'waiting')",
        (reason, operation_id, reason),
    )
