"""Assigns jobs to workers by leases, in ops.operations. Runs in the caller's transaction or in autocommit mode.

A job has one worker at a time, which holds a lease. Losing the lease does not stop a worker: the producer that the next
worker creates fences the former one's open units (shared/runtime/jobs/loop.py). Each statement names the worker, so a
former worker changes nothing; none changes an operation that has ended.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection
from shared.ops.operations import Operation, Wanted, resting_state
from shared.ops.tables.operations import CHANNEL, LEASE_S, get

_OWNED = "id = %(id)s AND worker = %(worker)s AND finished_at IS NULL"


def claim(
    connection: DbConnection, service: str, worker: str, kinds: Collection[str], lease_s: float = LEASE_S
) -> Operation | None:
    """Assigns the oldest job that waits for a worker to `worker`; None if there is none.

    A job whose lease expired is claimed in any wanted state, also paused or cancelled: the new worker must fence the
    former one. A lease that ends later than any renewal could have set it is a relic of a database clock that was set
    back, and counts as expired.
    """
    row = connection.execute(
        "UPDATE ops.operations SET worker = %(worker)s, updated_at = clock_timestamp(),"
        " lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s) WHERE id = ("
        "  SELECT id FROM ops.operations WHERE service = %(service)s AND kind = ANY(%(kinds)s) AND finished_at IS NULL"
        "  AND (worker IS NULL AND wanted = 'run' OR lease_until < clock_timestamp()"
        "   OR lease_until > clock_timestamp() + make_interval(secs => 2 * %(lease_s)s))"
        "  ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
        {"service": service, "kinds": list(kinds), "worker": worker, "lease_s": lease_s},
    ).fetchone()
    return None if row is None else get(connection, row[0])


def renew(connection: DbConnection, operation_id: str, worker: str, lease_s: float = LEASE_S) -> bool:
    """Extends the lease; False if the job has ended or belongs to another worker."""
    renewed = connection.execute(
        "UPDATE ops.operations SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)"
        f" WHERE {_OWNED}",
        {"id": operation_id, "worker": worker, "lease_s": lease_s},
    )
    return renewed.rowcount == 1


def report_progress(
    connection: DbConnection,
    operation_id: str,
    worker: str,
    counts: Mapping[str, Any] | None,
    progress: float | None,
    *,
    left_s: float | None = None,
    waiting_for: str | None = None,
) -> Wanted | None:
    """Reports progress and returns the wanted state; None if the job no longer belongs to this worker."""
    row = connection.execute(
        "UPDATE ops.operations SET state = 'running', started_at = coalesce(started_at, clock_timestamp()),"
        " counts = coalesce(%(counts)s, counts), progress = coalesce(%(progress)s, progress), left_s = %(left_s)s,"
        f" waiting_for = %(waiting_for)s, updated_at = clock_timestamp() WHERE {_OWNED} RETURNING wanted",
        {"id": operation_id, "worker": worker, "counts": _json(counts), "left_s": left_s, "waiting_for": waiting_for}
        | {"progress": None if progress is None else min(1.0, max(0.0, progress))},
    ).fetchone()
    return None if row is None else row[0]


def wanted_of(connection: DbConnection, operation_id: str, worker: str) -> Wanted | None:
    row = connection.execute(
        f"SELECT wanted FROM ops.operations WHERE {_OWNED}", {"id": operation_id, "worker": worker}
    ).fetchone()
    return None if row is None else row[0]


def finish(
    connection: DbConnection,
    operation_id: str,
    worker: str,
    state: Literal["succeeded", "failed"],
    counts: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> bool:
    """Ends the job; False if it no longer belongs to this worker."""
    ended = connection.execute(
        "UPDATE ops.operations SET state = %(state)s, error = %(error)s, counts = coalesce(%(counts)s, counts),"
        " progress = CASE WHEN %(state)s = 'succeeded' THEN 1 ELSE progress END, waiting_for = NULL,"
        " left_s = NULL, worker = NULL, lease_until = NULL, finished_at = clock_timestamp(),"
        f" updated_at = clock_timestamp() WHERE {_OWNED}",
        {"id": operation_id, "worker": worker, "state": state, "error": error, "counts": _json(counts)},
    )
    return ended.rowcount == 1


def release(connection: DbConnection, operation_id: str, worker: str, counts: Mapping[str, Any] | None = None) -> bool:
    """Gives up the lease once no unit of the job is open, and moves the job to the state that is wanted.

    Returns False if the job no longer belongs to this worker.
    """
    with connection.transaction():
        row = connection.execute(
            f"SELECT wanted, service FROM ops.operations WHERE {_OWNED} FOR UPDATE",
            {"id": operation_id, "worker": worker},
        ).fetchone()
        if row is None:
            return False
        connection.execute(
            "UPDATE ops.operations SET state = %(state)s, worker = NULL, lease_until = NULL, waiting_for = NULL,"
            " counts = coalesce(%(counts)s, counts), left_s = NULL, updated_at = clock_timestamp(),"
            " finished_at = CASE WHEN %(state)s = 'cancelled' THEN clock_timestamp() END WHERE id = %(id)s",
            {"id": operation_id, "state": resting_state(row[0]), "counts": _json(counts)},
        )
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, row[1]))
    return True


def expire_lease(connection: DbConnection, operation_id: str, worker: str) -> None:
    """Expires the lease of a worker that died without releasing it, so that another can claim and fence the job."""
    connection.execute(
        f"UPDATE ops.operations SET lease_until = clock_timestamp() - interval '1 s' WHERE {_OWNED}",
        {"id": operation_id, "worker": worker},
    )


def _json(counts: Mapping[str, Any] | None) -> Jsonb | None:
    return None if counts is None else Jsonb(counts)
