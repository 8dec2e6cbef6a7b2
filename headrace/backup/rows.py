"""Changes restored rows that speak of the time after the backup, which the database does not know any more."""

from __future__ import annotations

from datetime import datetime

from shared.database.connection import DbConnection

# What processes said of themselves that do not run any more.
_PROCESSES = ("ops.replicas", "ops.observed", "ops.slots", "ops.attempts", "broker.members", "broker.leases")
# Messages that were not sent when the backup was taken, and perhaps were afterwards.
_HOLD = """
UPDATE notifier.ledger SET state = 'unknown', error = %s, group_id = NULL
WHERE state IN ('pending', 'sending')"""


def make_consistent(connection: DbConnection) -> None:
    """Remove the state of processes, and have the daily files of all days written again: they are not in a backup."""
    connection.execute(f"TRUNCATE {', '.join(_PROCESSES)}")
    connection.execute("UPDATE facts.export_days SET exported = 0, touched = greatest(touched, 1)")


def hold_messages(connection: DbConnection, taken_at: datetime) -> int:
    """Let an operator decide about the messages that were not sent at `taken_at`; returns their number."""
    error = f"restored from a backup of {taken_at:%Y-%m-%d %H:%M} UTC: perhaps sent after it"
    return connection.execute(_HOLD, (error,)).rowcount
