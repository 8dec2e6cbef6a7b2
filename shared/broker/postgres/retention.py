"""Deletes old batches by age and size, but never a batch that a known group has not read yet.

The log is divided into segments (docs/adr/0019-log-segments.md). A segment is dropped once its batches have expired.
Batches that cannot wait for that are deleted: because of a limit of size, or because others of their segment stay.
Functions of the database do both, because no service may delete from the log by itself. Each partition is a short
transaction with a bounded number of batches and bytes, so that a large backlog is deleted in many turns. `overdue`
tells what is left and why.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

# Advisory lock: one process deletes at a time, the others skip their turn. ASCII "retain".
LOCK = int.from_bytes(b"retain", "big")
# Of one partition in one transaction. To delete 100 MB takes 0.14 s.
MAX_BATCHES = 2000
MAX_BYTES = 64 * 1024 * 1024
# The same thread renews leases, so a turn must be short; the remaining partitions follow in the next turns.
TURN_S = 1.0
LONGEST_MS = 2000

_PARTITIONS = """
SELECT part.topic_id, part.p FROM broker.partitions part JOIN broker.topics t ON t.id = part.topic_id
WHERE NOT t.compacted AND (t.retention_s IS NOT NULL OR t.retention_bytes IS NOT NULL) ORDER BY 1, 2"""
_OVERDUE = """
SELECT topic_name, seconds, unread_by FROM broker.oldest_batches(%s, %s, 1) WHERE expired AND NOT is_newest"""


class Overdue(NamedTuple):
    """A partition whose oldest batch should have been deleted `seconds` ago; 0 if only the size is exceeded. `group`:
    the group that has not read it; None if a later turn deletes it."""

    topic: str
    partition: int
    seconds: float
    group: str | None


def enforce(
    connection: psycopg.Connection[Any],
    max_batches: int = MAX_BATCHES,
    max_bytes: int = MAX_BYTES,
    turn_s: float = TURN_S,
) -> int:
    """Drop an expired segment and delete expired batches for about `turn_s` seconds; returns how many batches were
    deleted, for a segment an estimate. Of a partition at most `max_batches` are deleted and at most `max_bytes`, but
    at least one batch. Also opens the next segment when it is due.

    Does nothing while another process does it. Raises psycopg.OperationalError if a statement takes too long; what was
    deleted before stays deleted."""
    end_s, deleted = time.monotonic() + turn_s, 0
    if not _one(connection, "SELECT pg_try_advisory_lock(%s)", (LOCK,)):
        return 0
    try:
        _with_lock(connection, "SELECT broker.open_segment()", ())
        deleted += _with_lock(connection, "SELECT broker.drop_segment(%s, %s)", (max_batches, max_bytes))
        partitions = _rotated(connection.execute(_PARTITIONS).fetchall())
        for topic, p in partitions:
            if time.monotonic() >= end_s and deleted:
                break
            values = (topic, p, max_batches, max_bytes)
            deleted += _in_short_transaction(connection, "SELECT broker.delete_expired(%s, %s, %s, %s)", values)
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    return deleted


def overdue(connection: psycopg.Connection[Any]) -> list[Overdue]:
    """The partitions whose oldest batch should have been deleted."""
    partitions = []
    for topic, p in connection.execute(_PARTITIONS).fetchall():
        row = connection.execute(_OVERDUE, (topic, p)).fetchone()
        if row is not None:
            partitions.append(Overdue(row[0], p, max(0.0, float(row[1] or 0)), row[2]))
    return partitions


def _with_lock(connection: psycopg.Connection[Any], query: str, values: tuple[int, ...]) -> int:
    """As `_in_short_transaction`; 0 if the log is in use for too long. A later turn tries again."""
    try:
        return _in_short_transaction(connection, query, values)
    except psycopg.errors.LockNotAvailable:
        return 0


def _in_short_transaction(connection: psycopg.Connection[Any], query: str, values: tuple[int, ...]) -> int:
    with connection.transaction():
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(LONGEST_MS),))
        return int(_one(connection, query, values))


def _rotated(partitions: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Begin elsewhere in each turn, so that each partition has its turn although a turn is short."""
    start = time.monotonic_ns() % len(partitions) if partitions else 0
    return [*partitions[start:], *partitions[:start]]


def _one(connection: psycopg.Connection[Any], query: str, parameters: Any) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return None if row is None else row[0]
