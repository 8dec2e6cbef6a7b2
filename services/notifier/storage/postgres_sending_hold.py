"""Stores in notifier.sending_hold why no message is sent. Runs within the caller's transaction.

A ledger that went back to an earlier state lacks what was sent since, so its messages may have arrived already. They
wait until an operator discards some of them and releases the others.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from psycopg.rows import class_row

from services.notifier.sending_hold import SendingHold
from shared.database.connection import DbConnection

# A row of the ledger is deleted days after it was recorded (`retention.messages_days`).
MIN_RETENTION = timedelta(days=1)
# A row in `sending` is settled by the sender: it becomes one of these, or `sent`.
DISCARD_UNTIL = """
UPDATE notifier.ledger SET state = 'expired', error = %s, group_id = NULL
WHERE state IN ('pending', 'unknown') AND created_at <= %s"""


def read_hold(connection: DbConnection) -> SendingHold | None:
    with connection.cursor(row_factory=class_row(SendingHold)) as cursor:
        return cursor.execute("SELECT since, cause FROM notifier.sending_hold").fetchone()


def hold_sending(connection: DbConnection, cause: str) -> None:
    """Let all messages wait. A hold that exists keeps its time and cause."""
    connection.execute("INSERT INTO notifier.sending_hold (cause) VALUES (%s) ON CONFLICT DO NOTHING", (cause,))


def release_sending(connection: DbConnection) -> bool:
    """Send what waits. Returns False if nothing was held."""
    return connection.execute("DELETE FROM notifier.sending_hold").rowcount == 1


def count_waiting(connection: DbConnection) -> int:
    """How many messages wait to be sent."""
    row = connection.execute("SELECT count(*) FROM notifier.ledger WHERE state IN ('pending', 'sending')").fetchone()
    return 0 if row is None else int(row[0])


def discard_until(connection: DbConnection, until: datetime, reason: str) -> int:
    """Let messages expire that wait or are of unknown delivery and were recorded until then. Returns their number."""
    return connection.execute(DISCARD_UNTIL, (reason, until)).rowcount


def went_back(connection: DbConnection, id_: int, attempts: int, sent_ago: timedelta) -> bool:
    """Whether the ledger lacks what the caller knows of a message: that it was claimed for the last time as attempt
    `attempts`, and was marked as sent `sent_ago` ago. Retention deletes rows that are older than a day."""
    row = connection.execute("SELECT attempts, state FROM notifier.ledger WHERE id = %s", (id_,)).fetchone()
    if row is None:
        return sent_ago < MIN_RETENTION
    return bool(row[0] < attempts or (row[0] == attempts and row[1] == "sending"))
