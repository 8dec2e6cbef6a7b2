"""Reads and writes the ledger: one row per notification and channel, with its delivery state (table notifier.ledger).

A row without a text is a summary that summaries/postgres_summaries.py has still to compose; it is not sent before.

States: pending -> sending -> sent | failed | unknown, and back from sending to pending for another attempt. If a sender
dies between sending and marking, the row stays in `sending`, and it is not known whether the message was delivered.
When the lease expires, the row becomes `unknown` (crash policy `park`: perhaps never sent) or `pending` (`retry`:
perhaps sent twice).

All times are the database's clock, because senders on several machines must agree on leases and delays. A virtual clock
that runs a thousand times as fast would end a lease before the message is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg.rows import class_row, tuple_row

from shared.database.connection import DbConnection

CrashPolicy = Literal["park", "retry"]
MAX_ERROR_LENGTH = 1_000

RECORD_NOTIFICATIONS = """
INSERT INTO notifier.ledger (record_id, rule, channel, event_key, text, created_at, due_at)
SELECT note.record_id, note.rule, channel, note.event_key, note.text, now(), now()
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
     AS note (record_id, rule, event_key, text, n)
CROSS JOIN unnest(%s::text[]) AS channel
ORDER BY note.n
ON CONFLICT (record_id, rule, channel) DO NOTHING"""
# Inserted in the order of ids, because concurrent notifiers may insert the same rows. A summary that is recorded again
# becomes due again.
RECORD_SUMMARIES = """
INSERT INTO notifier.ledger (record_id, rule, channel, event_key, created_at, due_at)
SELECT note.record_id, note.rule, channel, note.event_key, now(), now()
FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS note (record_id, rule, event_key)
CROSS JOIN unnest(%s::text[]) AS channel
ORDER BY note.record_id, channel
ON CONFLICT (record_id, rule, channel) DO UPDATE SET due_at = excluded.due_at WHERE ledger.text IS NULL"""
CLAIM = """
UPDATE notifier.ledger SET state = 'sending', attempts = attempts + 1, claimed_at = clock_timestamp()
WHERE id = (
    SELECT id FROM notifier.ledger
    WHERE channel = %s AND state = 'pending' AND text IS NOT NULL AND due_at <= clock_timestamp()
    ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING id, attempts, record_id, rule, event_key, text"""
# `attempts` identifies the claim. A row may still be marked after its lease, because its sender knows the outcome.
SENT = """
UPDATE notifier.ledger SET state = 'sent', sent_at = clock_timestamp(), error = NULL
WHERE id = %s AND attempts = %s AND state IN ('sending', 'unknown', 'pending')"""
FAILED = """
UPDATE notifier.ledger SET state = 'failed', error = %s
WHERE id = %s AND attempts = %s AND state IN ('sending', 'unknown', 'pending')"""
DELAYED = """
UPDATE notifier.ledger SET state = 'pending', due_at = clock_timestamp() + make_interval(secs => %s), error = %s
WHERE id = %s AND attempts = %s AND state IN ('sending', 'unknown', 'pending')"""
EXPIRE = """
UPDATE notifier.ledger SET state = %s, error = %s
WHERE channel = %s AND state = 'sending' AND claimed_at < clock_timestamp() - make_interval(secs => %s)"""
RECORDED = "SELECT record_id FROM notifier.ledger WHERE record_id = ANY(%s) AND text IS NOT NULL"
PENDING_SUMMARIES = """
SELECT record_id, rule, event_key, max(due_at) AS due_at FROM notifier.ledger
WHERE text IS NULL AND due_at <= clock_timestamp()
GROUP BY record_id, rule, event_key ORDER BY max(due_at), record_id"""
WRITE_TEXT = """
UPDATE notifier.ledger SET text = %s, due_at = clock_timestamp() WHERE record_id = %s AND rule = %s AND text IS NULL"""
# If the summary was recorded again since it was read, `due_at` differs; it stays due and is composed again.
DISCARD_SUMMARY = """
UPDATE notifier.ledger SET due_at = 'infinity'
WHERE record_id = %s AND rule = %s AND text IS NULL AND due_at = %s"""


class NewNotification(NamedTuple):
    """A notification to record on every channel."""

    record_id: UUID
    rule: str
    event_key: str
    text: str


class NewSummary(NamedTuple):
    """A summary to record on every channel; its text is composed later."""

    record_id: UUID
    rule: str
    event_key: str


class PendingSummary(NamedTuple):
    """A recorded summary without a text; `due_at` is when it was last recorded."""

    record_id: UUID
    rule: str
    event_key: str
    due_at: datetime


class Claim(NamedTuple):
    """A row that the caller may send until the lease expires; `attempts` includes this attempt."""

    id: int
    attempts: int
    record_id: UUID
    rule: str
    event_key: str
    text: str


def record_notifications(
    connection: DbConnection, notifications: Sequence[NewNotification], channels: Sequence[str]
) -> int:
    """Insert notifications, in the caller's transaction; returns the number of new rows."""
    if not notifications or not channels:
        return 0
    columns = [list(column) for column in zip(*notifications, strict=True)]
    return connection.execute(RECORD_NOTIFICATIONS, [*columns, list(channels)]).rowcount


def record_summaries(connection: DbConnection, summaries: Iterable[NewSummary], channels: Sequence[str]) -> int:
    """Insert summaries, or make those due again that have no text yet; returns the number of these rows."""
    each_once = set(summaries)
    if not each_once or not channels:
        return 0
    columns = [list(column) for column in zip(*each_once, strict=True)]
    return connection.execute(RECORD_SUMMARIES, [*columns, list(channels)]).rowcount


def recorded(connection: DbConnection, record_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the ids that are in the ledger with a text, in any state."""
    if not record_ids:
        return set()
    with connection.cursor(row_factory=tuple_row) as cursor:
        return {row[0] for row in cursor.execute(RECORDED, [list(record_ids)]).fetchall()}


def pending_summaries(connection: DbConnection) -> list[PendingSummary]:
    """The due summaries without a text, each once for all its channels."""
    with connection.cursor(row_factory=class_row(PendingSummary)) as cursor:
        return cursor.execute(PENDING_SUMMARIES).fetchall()


def write_text(connection: DbConnection, summary: PendingSummary, text: str) -> int:
    """Set the summary's text on every channel, unless it has one; returns the number of changed rows."""
    return connection.execute(WRITE_TEXT, [text, summary.record_id, summary.rule]).rowcount


def discard_summary(connection: DbConnection, summary: PendingSummary) -> int:
    """Ignore the summary until it is recorded again; returns the number of changed rows."""
    return connection.execute(DISCARD_SUMMARY, [summary.record_id, summary.rule, summary.due_at]).rowcount


def claim(connection: DbConnection, channel: str) -> Claim | None:
    """Claim the channel's row that has been due longest; None if none is due. Concurrent callers get different rows."""
    with connection.cursor(row_factory=class_row(Claim)) as cursor:
        return cursor.execute(CLAIM, [channel]).fetchone()


def mark_sent(connection: DbConnection, claimed: Claim) -> bool:
    """Returns False if another sender has claimed the row since."""
    return connection.execute(SENT, [claimed.id, claimed.attempts]).rowcount == 1


def mark_failed(connection: DbConnection, claimed: Claim, reason: str) -> bool:
    """No further attempt follows. Returns False if another sender has claimed the row since."""
    return connection.execute(FAILED, [reason[:MAX_ERROR_LENGTH], claimed.id, claimed.attempts]).rowcount == 1


def delay(connection: DbConnection, claimed: Claim, delay_s: float, reason: str) -> bool:
    """Schedule another attempt in `delay_s`. Returns False if another sender has claimed the row since."""
    values = [delay_s, reason[:MAX_ERROR_LENGTH], claimed.id, claimed.attempts]
    return connection.execute(DELAYED, values).rowcount == 1


def expire_claims(connection: DbConnection, channel: str, lease_s: float, crash_policy: CrashPolicy) -> int:
    """Apply the crash policy to rows in `sending` for longer than the lease; returns the number of rows."""
    state = "unknown" if crash_policy == "park" else "pending"
    reason = "the sender died between sending and marking: it is not known whether the message was delivered"
    return connection.execute(EXPIRE, [state, reason, channel, lease_s]).rowcount
