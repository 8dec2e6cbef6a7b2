"""Who works on which job, in ops.operations. Within the caller's transaction, or statement by statement.

A job has one worker at a time, which holds a lease on it. Losing the lease stops nobody by itself: what a former worker
has begun is fenced by the producer that the next one makes (shared/runtime/jobs/loop.py). Each statement names the
worker, so that a former one changes nothing; none touches an operation that is over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection
from shared.ops.operations import Operation, Wanted, resting_state
from shared.ops.tables.operations import CHANNEL, LEASE_S, get

_MINE = "id = %(id)s AND worker = %(worker)s AND finished_at IS NULL"


def claim(
    connection: DbConnection, service: str, worker: str, kinds: Collection[str], lease_s: float = LEASE_S
) -> Operation | None:
    """The job that was asked for first among those that wait for a worker, now `worker`'s.

    Also one whose worker's lease ended, whatever is wanted of it: whoever claims it has to see that nothing comes of
    the former worker any more.
    """
    row = connection.execute(
        "UPDATE ops.operations SET worker = %(worker)s, updated_at = clock_timestamp(),"
        " lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s) WHERE id = ("
        "  SELECT id FROM ops.operations WHERE service = %(service)s AND kind = ANY(%(kinds)s) AND finished_at IS NULL"
        "  AND (worker IS NULL AND wanted = 'run' OR lease_until < clock_timestamp())"
        "  ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
        {"service": service, "kinds": list(kinds), "worker": worker, "lease_s": lease_s},
    ).fetchone()
    return None if row is None else get(connection, row[0])


def renew(connection: DbConnection, operation_id: str, worker: str, lease_s: float = LEASE_S) -> bool:
    """Whether the job is still this worker's, and open."""
    renewed = connection.execute(
        f"UPDATE ops.operations SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s) WHERE {_MINE}",
        {"id": operation_id, "worker": worker, "lease_s": lease_s},
    )
    return renewed.rowcount == 1


def tell(
    connection: DbConnection,
    operation_id: str,
    worker: str,
    counts: Mapping[str, Any] | None,
    progress: float | None,
    *,
    left_s: float | None = None,
    waiting_for: str | None = None,
) -> Wanted | None:
    """Say how far it is; returns what is wanted of it, None: it is not this worker's any more."""
    row = connection.execute(
        "UPDATE ops.operations SET state = 'running', started_at = coalesce(started_at, clock_timestamp()),"
        " counts = coalesce(%(counts)s, counts), progress = coalesce(%(progress)s, progress), left_s = %(left_s)s,"
        f" waiting_for = %(waiting_for)s, updated_at = clock_timestamp() WHERE {_MINE} RETURNING wanted",
        {"id": operation_id, "worker": worker, "counts": _json(counts), "left_s": left_s, "waiting_for": waiting_for}
        | {"progress": None if progress is None else min(1.0, max(0.0, progress))},
    ).fetchone()
    return None if row is None else row[0]


def wanted_of(connection: DbConnection, operation_id: str, worker: str) -> Wanted | None:
    row = connection.execute(
        f"SELECT wanted FROM ops.operations WHERE {_MINE}", {"id": operation_id, "worker": worker}
    ).fetchone()
    return None if row is None else row[0]


def end(
    connection: DbConnection,
    operation_id: str,
    worker: str,
    state: Literal["succeeded", "failed"],
    counts: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> bool:
    """The end, as its worker says; False where the job is not its any more."""
    ended = connection.execute(
        "UPDATE ops.operations SET state = %(state)s, error = %(error)s, counts = coalesce(%(counts)s, counts),"
        " progress = CASE WHEN %(state)s = 'succeeded' THEN 1 ELSE progress END, waiting_for = NULL,"
        " left_s = NULL, worker = NULL, lease_until = NULL, finished_at = clock_timestamp(),"
        f" updated_at = clock_timestamp() WHERE {_MINE}",
        {"id": operation_id, "worker": worker, "state": state, "error": error, "counts": _json(counts)},
    )
    return ended.rowcount == 1


def lay_down(connection: DbConnection, operation_id: str, worker: str, counts: Mapping[str, Any] | None = None) -> bool:
    """Nobody works on it now, and nothing of what its workers began can happen any more: it is what is wanted of it."""
    with connection.transaction():
        row = connection.execute(
            f"SELECT wanted, service FROM ops.operations WHERE {_MINE} FOR UPDATE",
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


def let_go(connection: DbConnection, operation_id: str, worker: str) -> None:
    """Its worker is gone without having laid it down: whoever claims it, now, fences what may be left of it."""
    connection.execute(
        f"UPDATE ops.operations SET lease_until = clock_timestamp() - interval '1 s' WHERE {_MINE}",
        {"id": operation_id, "worker": worker},
    )


def _json(counts: Mapping[str, Any] | None) -> Jsonb | None:
    return None if counts is None else Jsonb(counts)
