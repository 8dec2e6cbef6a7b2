"""Changes restored rows that speak of the time after the backup, which the database does not know any more."""

from __future__ import annotations

from datetime import datetime

from services.notifier.storage.postgres_sending_hold import count_waiting, hold_sending
from shared.database.connection import DbConnection

# What processes said of themselves that do not run any more.
_PROCESSES = ("ops.replicas", "ops.observed", "ops.slots", "ops.attempts", "broker.members", "broker.leases")


def make_consistent(connection: DbConnection) -> None:
    """Remove the state of processes, and have the daily files of all days written again: they are not in a backup."""
    connection.execute(f"TRUNCATE {', '.join(_PROCESSES)}")
    connection.execute("UPDATE facts.export_days SET exported = 0, touched = greatest(touched, 1)")


def hold_messages(connection: DbConnection, taken_at: datetime) -> int:
    """Let all messages wait until an operator decides which of them people have received since `taken_at`; returns how
    many wait already."""
    hold_sending(
        connection, f"restored from a backup of {taken_at:%Y-%m-%d %H:%M} UTC, which lacks what was sent since"
    )
    return count_waiting(connection)
