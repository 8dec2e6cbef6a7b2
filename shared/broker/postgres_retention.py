"""Throwing old batches away, whole, by age and by size, but never what a known group has not read yet."""

from __future__ import annotations

from typing import Any

import psycopg

# One process at a time; who does not get the lock leaves it to the one that has it. ASCII "retain".
LOCK = int.from_bytes(b"retain", "big")

# A batch may go when it is too old or when newer batches already fill the partition's share of bytes, and every
# group that reads the topic is past it. The newest batch stays, so that time queries have something to stand on.
_DELETE = """
WITH judged AS (
    SELECT l.topic_id, l.p, l.base_off, l.n, l.last_ms, t.retention_s, t.retention_bytes, t.partitions,
           sum(length(l.payload)) OVER newer - length(l.payload) AS bytes_after,
           row_number() OVER newer AS age_rank
    FROM broker.log l JOIN broker.topics t ON t.id = l.topic_id
    WHERE t.retention_s IS NOT NULL OR t.retention_bytes IS NOT NULL
    WINDOW newer AS (PARTITION BY l.topic_id, l.p ORDER BY l.base_off DESC)
), doomed AS (
    SELECT j.topic_id, j.p, j.base_off, j.n FROM judged j
    WHERE j.age_rank > 1
      AND (j.last_ms < extract(epoch FROM now()) * 1000 - j.retention_s * 1000
           OR j.bytes_after >= j.retention_bytes / j.partitions)
      AND j.base_off + j.n <= ALL (
          SELECT g.next_off FROM broker.positions g WHERE g.topic_id = j.topic_id AND g.p = j.p)
), gone AS (
    DELETE FROM broker.log l USING doomed d
    WHERE l.topic_id = d.topic_id AND l.p = d.p AND l.base_off = d.base_off
    RETURNING l.topic_id, l.p, l.base_off + l.n AS next_off
), cut AS (
    SELECT topic_id, p, max(next_off) AS next_off, count(*) AS batches FROM gone GROUP BY topic_id, p
), moved AS (
    UPDATE broker.partitions part SET begin_off = greatest(part.begin_off, cut.next_off) FROM cut
    WHERE part.topic_id = cut.topic_id AND part.p = cut.p RETURNING 1
)
SELECT coalesce(sum(batches), 0)::bigint FROM cut
"""


def enforce(connection: psycopg.Connection[Any]) -> int:
    """Delete what may go; returns how many batches went. Does nothing while another process is at it."""
    with connection.transaction():
        got = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).fetchone()
        if not got or not got[0]:
            return 0
        found = connection.execute(_DELETE).fetchone()
    return int(found[0]) if found else 0
