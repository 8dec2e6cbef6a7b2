"""Deletes old batches by age and size, but never a batch that a known group has not read yet.

Each partition is a short transaction with a bounded number of batches and bytes, so that a large backlog is deleted in
many turns. `overdue` tells what is left and why.
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
# The oldest batches of a partition. A batch may go if it is too old, or if newer batches already fill the partition's
# share of the size limit, and if every group that reads the topic is past it. Only batches before the first one that
# must stay are deleted, so that no gap appears (batches carry their writers' clocks, which may differ). The newest
# batch always stays, because time queries need one.
_CANDIDATES = """
WITH kept AS (
    SELECT t.name, t.retention_s, t.retention_bytes / t.partitions AS share,
           (SELECT max(base_off) FROM broker.log WHERE topic_id = t.id AND p = %(p)s) AS newest,
           CASE WHEN t.retention_bytes IS NOT NULL THEN
               (SELECT sum(length(payload)) FROM broker.log WHERE topic_id = t.id AND p = %(p)s) END AS bytes
    FROM broker.topics t WHERE t.id = %(topic)s
), slowest AS (
    SELECT grp, next_off FROM broker.positions WHERE topic_id = %(topic)s AND p = %(p)s ORDER BY next_off LIMIT 1
), oldest AS (
    SELECT base_off, base_off + n AS next_off, last_ms, sum(length(payload)) OVER (ORDER BY base_off) AS bytes_through
    FROM broker.log WHERE topic_id = %(topic)s AND p = %(p)s ORDER BY base_off LIMIT %(batches)s
), judged AS (
    SELECT o.*, k.name, extract(epoch FROM now()) - k.retention_s - o.last_ms / 1000.0 AS seconds,
           o.base_off = k.newest AS is_newest,
           coalesce(o.last_ms < (extract(epoch FROM now()) - k.retention_s) * 1000, false)
               OR coalesce(k.bytes - o.bytes_through >= k.share, false) AS expired,
           (SELECT grp FROM slowest WHERE slowest.next_off < o.next_off) AS unread_by
    FROM oldest o CROSS JOIN kept k
)"""
_CUT = (
    _CANDIDATES
    + """
SELECT max(next_off) FROM judged
WHERE (base_off = (SELECT min(base_off) FROM judged) OR bytes_through <= %(bytes)s)
  AND base_off < coalesce(
      (SELECT min(base_off) FROM judged WHERE is_newest OR NOT expired OR unread_by IS NOT NULL), base_off + 1)"""
)
_DELETE = "DELETE FROM broker.log WHERE topic_id = %(topic)s AND p = %(p)s AND base_off < %(cut)s"
_MOVE = """
UPDATE broker.partitions SET begin_off = greatest(begin_off, %(cut)s) WHERE topic_id = %(topic)s AND p = %(p)s"""
_OVERDUE = _CANDIDATES + "SELECT name, seconds, unread_by FROM judged WHERE expired AND NOT is_newest"


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
    """Delete expired batches for about `turn_s` seconds; returns how many were deleted. Of a partition at most
    `max_batches` are deleted and at most `max_bytes`, but at least one batch.

    Does nothing while another process does it. Raises psycopg.OperationalError if a statement takes too long; what was
    deleted before stays deleted."""
    end_s, deleted = time.monotonic() + turn_s, 0
    if not _one(connection, "SELECT pg_try_advisory_lock(%s)", (LOCK,)):
        return 0
    try:
        partitions = _rotated(connection.execute(_PARTITIONS).fetchall())
        for topic, p in partitions:
            if time.monotonic() >= end_s and deleted:
                break
            deleted += _cut(connection, {"topic": topic, "p": p, "batches": max_batches, "bytes": max_bytes})
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    return deleted


def overdue(connection: psycopg.Connection[Any]) -> list[Overdue]:
    """The partitions whose oldest batch should have been deleted."""
    partitions = []
    for topic, p in connection.execute(_PARTITIONS).fetchall():
        row = connection.execute(_OVERDUE, {"topic": topic, "p": p, "batches": 1}).fetchone()
        if row is not None:
            partitions.append(Overdue(row[0], p, max(0.0, float(row[1] or 0)), row[2]))
    return partitions


def _cut(connection: psycopg.Connection[Any], values: dict[str, int]) -> int:
    """Delete the expired batches of one partition."""
    with connection.transaction():
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(LONGEST_MS),))
        cut = _one(connection, _CUT, values)
        if cut is None:
            return 0
        count = connection.execute(_DELETE, {**values, "cut": cut}).rowcount
        connection.execute(_MOVE, {**values, "cut": cut})  # last, because appends wait for its lock
        return count


def _rotated(partitions: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Begin elsewhere in each turn, so that each partition has its turn although a turn is short."""
    start = time.monotonic_ns() % len(partitions) if partitions else 0
    return [*partitions[start:], *partitions[:start]]


def _one(connection: psycopg.Connection[Any], query: str, parameters: Any) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return None if row is None else row[0]
