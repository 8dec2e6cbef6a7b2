"""Repairs the times of messages that were recorded or claimed while the database's clock was ahead.

Without it, they would wait until the clock is as late again: a day after a jump by a day.
"""

from __future__ import annotations

from services.notifier.storage.postgres_claims import OF_KIND
from shared.database.connection import DbConnection

# The end of a lease may be postponed for some minutes, so only times further ahead are wrong.
_AHEAD = "clock_timestamp() + interval '1 hour'"
# The time until a message is due, or expires, stays the same.
_REPAIR = f"""
UPDATE notifier.ledger SET
    due_at = due_at - greatest(created_at - clock_timestamp(), interval '0'),
    expires_at = expires_at - greatest(created_at - clock_timestamp(), interval '0'),
    claimed_at = CASE WHEN claimed_at > {_AHEAD} THEN clock_timestamp() ELSE claimed_at END,
    created_at = least(created_at, clock_timestamp())
WHERE {OF_KIND} AND state IN ('pending', 'sending') AND (created_at > {_AHEAD} OR claimed_at > {_AHEAD})"""


def repair_times(connection: DbConnection, kind: str) -> int:
    """Move the times of open messages to this kind of channel that lie ahead of the clock. Returns their number."""
    return connection.execute(_REPAIR, {"kind": kind}).rowcount
