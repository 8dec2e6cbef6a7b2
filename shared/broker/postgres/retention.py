"""Deletes old batches by age and size, but never a batch that a known group has not read yet.

The database function broker.delete_expired does it: no service may delete from the log by itself.
"""

from __future__ import annotations

from typing import Any

import psycopg

# Advisory lock: one process deletes at a time, the others skip their turn. ASCII "retain".
LOCK = int.from_bytes(b"retain", "big")
# The same thread renews leases, so a run must be short; the remaining batches are deleted in the next runs.
MAX_BATCHES = 2000
LONGEST_MS = 2000


def enforce(connection: psycopg.Connection[Any], max_batches: int = MAX_BATCHES) -> int:
    """Delete up to `max_batches` expired batches of each partition; returns how many were deleted. Raises
    psycopg.OperationalError if it takes too long. Does nothing while another process does it."""
    with connection.transaction():
        lock = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).fetchone()
        if not lock or not lock[0]:
            return 0
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(LONGEST_MS),))
        row = connection.execute("SELECT broker.delete_expired(%s)", (max_batches,)).fetchone()
    return int(row[0]) if row else 0
