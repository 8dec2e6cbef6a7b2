"""Stores in notifier.sending_hold why no message is sent, at all or to an address, in the caller's transaction.

A ledger that went back to an earlier state lacks what was sent since, so its messages may have arrived already. They
wait until an operator discards some of them and releases the others.

An address whose channel refuses every message (ChannelClosed) is closed: its messages wait until an operator opens it,
or a message is accepted there. It is tried from time to time, with one message.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from psycopg.rows import class_row

from services.notifier.sending_hold import EVERYWHERE, ClosedAddress, SendingHold
from shared.database.connection import DbConnection

# A row of the ledger is deleted days after it was recorded (`retention.messages_days`).
MIN_RETENTION = timedelta(days=1)
# A row in `sending` is settled by the sender: it becomes one of these, or `sent`.
DISCARD_UNTIL = """
UPDATE notifier.ledger SET state = 'expired', error = %(reason)s, group_id = NULL
WHERE state IN ('pending', 'unknown') AND created_at <= %(until)s
  AND (%(channel)s IN ('', channel) OR starts_with(channel, %(channel)s || '/'))"""


OF_CHANNEL = "address <> '' AND (%(kind)s IN ('', address) OR starts_with(address, %(kind)s || '/'))"
CLOSED = f"""
SELECT address, since, cause, tried_at,
    (SELECT count(*) FROM notifier.ledger WHERE channel = address AND state IN ('pending', 'sending')) AS waiting
FROM notifier.sending_hold WHERE {OF_CHANNEL} ORDER BY address"""
CLOSE = """
INSERT INTO notifier.sending_hold (address, cause, tried_at, refused_at)
VALUES (%s, %s, clock_timestamp(), clock_timestamp())
ON CONFLICT (address) DO UPDATE SET cause = excluded.cause, tried_at = excluded.tried_at,
    refused_at = excluded.refused_at"""
OPEN = f"DELETE FROM notifier.sending_hold WHERE {OF_CHANNEL} RETURNING address"
TRY_AT_ONCE = """
UPDATE notifier.sending_hold SET tried_at = NULL, refused_at = NULL WHERE address <> '' AND address = ANY(%s)"""
TAKE_TRIAL = f"""
UPDATE notifier.sending_hold SET tried_at = clock_timestamp()
WHERE address = (
    SELECT address FROM notifier.sending_hold
    WHERE {OF_CHANNEL} AND coalesce(tried_at < clock_timestamp() - make_interval(
        secs => CASE WHEN address = ANY(%(tried)s) THEN %(pause_s)s ELSE %(first_s)s END), true)
      AND EXISTS (SELECT FROM notifier.ledger WHERE channel = address AND state = 'pending' AND text IS NOT NULL
                  AND due_at <= clock_timestamp())
    ORDER BY tried_at NULLS FIRST LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING address"""


def read_hold(connection: DbConnection) -> SendingHold | None:
    with connection.cursor(row_factory=class_row(SendingHold)) as cursor:
        return cursor.execute("SELECT since, cause FROM notifier.sending_hold WHERE address = ''").fetchone()


def hold_sending(connection: DbConnection, cause: str) -> None:
    """Let all messages wait. A hold that exists keeps its time and cause."""
    connection.execute("INSERT INTO notifier.sending_hold (cause) VALUES (%s) ON CONFLICT DO NOTHING", (cause,))


def release_sending(connection: DbConnection) -> bool:
    """Send what waits. Returns False if nothing was held."""
    return connection.execute("DELETE FROM notifier.sending_hold WHERE address = ''").rowcount == 1


def read_closed(connection: DbConnection, channel: str = EVERYWHERE) -> list[ClosedAddress]:
    """The closed addresses, in order; only those of a kind of channel, or this address, if given."""
    with connection.cursor(row_factory=class_row(ClosedAddress)) as cursor:
        return cursor.execute(CLOSED, {"kind": channel}).fetchall()


def closed_addresses(connection: DbConnection, kind: str = EVERYWHERE) -> list[str]:
    rows = connection.execute(f"SELECT address FROM notifier.sending_hold WHERE {OF_CHANNEL}", {"kind": kind})
    return [row[0] for row in rows.fetchall()]


def close_address(connection: DbConnection, address: str, cause: str) -> None:
    """Let the address's messages wait. One that is closed already has been tried again."""
    connection.execute(CLOSE, (address, cause))


def open_addresses(connection: DbConnection, channel: str) -> list[str]:
    """Send to this address, or to those of this kind of channel. Returns those that were closed."""
    return sorted(row[0] for row in connection.execute(OPEN, {"kind": channel}).fetchall())


def try_at_once(connection: DbConnection, addresses: Collection[str]) -> None:
    """Let senders try these addresses now if they are closed."""
    connection.execute(TRY_AT_ONCE, (list(addresses),))


def take_trial(
    connection: DbConnection, kind: str, tried: Collection[str], first_s: float, pause_s: float
) -> str | None:
    """The closed address of this kind that the caller may try now with one message that waits; None if there is none.

    The last trial of the address is `pause_s` ago; `first_s` if the caller has not `tried` it yet.
    """
    values = {"kind": kind, "tried": list(tried), "first_s": first_s, "pause_s": pause_s}
    row = connection.execute(TAKE_TRIAL, values).fetchone()
    return None if row is None else str(row[0])


def count_waiting(connection: DbConnection) -> int:
    """How many messages wait to be sent."""
    row = connection.execute("SELECT count(*) FROM notifier.ledger WHERE state IN ('pending', 'sending')").fetchone()
    return 0 if row is None else int(row[0])


def discard_until(connection: DbConnection, until: datetime, reason: str, channel: str = EVERYWHERE) -> int:
    """Let messages expire that wait or are of unknown delivery and were recorded until then. Returns their number.

    `channel`: only those to this kind of channel or address.
    """
    return connection.execute(DISCARD_UNTIL, {"reason": reason, "until": until, "channel": channel}).rowcount


def went_back(connection: DbConnection, id_: int, attempts: int, sent_ago: timedelta) -> bool:
    """Whether the ledger lacks what the caller knows of a message: that it was claimed for the last time as attempt
    `attempts`, and was marked as sent `sent_ago` ago. Retention deletes rows that are older than a day."""
    row = connection.execute("SELECT attempts, state FROM notifier.ledger WHERE id = %s", (id_,)).fetchone()
    if row is None:
        return sent_ago < MIN_RETENTION
    return bool(row[0] < attempts or (row[0] == attempts and row[1] == "sending"))
