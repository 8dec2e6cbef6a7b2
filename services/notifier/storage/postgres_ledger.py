"""Records notifications in the ledger: one row per notification and address, with its delivery state.

A row without a text is a summary that summaries/postgres_summaries.py has still to compose; it is not sent before.
postgres_claims.py has the states of a row and what the sender does with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import class_row, tuple_row

from services.notifier.texts.content import Content
from shared.database.connection import DbConnection

RECORD_NOTIFICATIONS = """
INSERT INTO notifier.ledger
    (record_id, rule, channel, event_key, text, content, created_at, due_at, expires_at)
SELECT note.record_id, note.rule, channel, note.event_key, note.text, note.content, now(), now(),
       now() + make_interval(secs => note.expires_s)
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::double precision[]) WITH ORDINALITY
     AS note (record_id, rule, event_key, text, content, expires_s, n)
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
RECORDED = "SELECT record_id FROM notifier.ledger WHERE record_id = ANY(%s) AND text IS NOT NULL"
PENDING_SUMMARIES = """
SELECT record_id, rule, event_key, max(due_at) AS due_at FROM notifier.ledger
WHERE text IS NULL AND due_at <= clock_timestamp()
GROUP BY record_id, rule, event_key ORDER BY max(due_at), record_id"""
WRITE_TEXT = """
UPDATE notifier.ledger SET text = %s, content = %s::jsonb, due_at = clock_timestamp()
WHERE record_id = %s AND rule = %s AND text IS NULL"""
REWRITE = """
UPDATE notifier.ledger SET text = %s, content = %s::jsonb, version = version + 1
WHERE record_id = %s AND rule = %s AND text IS NOT NULL"""
# If the summary was recorded again since it was read, `due_at` differs; it stays due and is composed again.
DISCARD_SUMMARY = """
UPDATE notifier.ledger SET due_at = 'infinity'
WHERE record_id = %s AND rule = %s AND text IS NULL AND due_at = %s"""

# As a new message: it leaves its digest, what the channel perhaps has of it is forgotten, and it is as old as this
# request for rules that let messages expire.
RETRY = """
UPDATE notifier.ledger SET state = 'pending', created_at = clock_timestamp(), due_at = clock_timestamp(),
    expires_at = NULL, error = NULL, interruptions = 0,
    group_id = NULL, external_id = NULL, thread_id = NULL, shown_version = NULL
WHERE id = %s AND state IN ('failed', 'unknown', 'expired')"""
DISCARD = """
UPDATE notifier.ledger SET state = 'expired', error = %s, group_id = NULL
WHERE id = %s AND state IN ('failed', 'unknown')"""


class NewNotification(NamedTuple):
    """A notification to record at every address. It expires `expires_s` real seconds after it is recorded."""

    record_id: UUID
    rule: str
    event_key: str
    text: str
    content: Content | None = None
    expires_s: float | None = None


class NewSummary(NamedTuple):
    """A summary to record at every address; its text is composed later."""

    record_id: UUID
    rule: str
    event_key: str


class PendingSummary(NamedTuple):
    """A recorded summary without a text; `due_at` is when it was last recorded."""

    record_id: UUID
    rule: str
    event_key: str
    due_at: datetime


def record_notifications(
    connection: DbConnection, notifications: Sequence[NewNotification], addresses: Sequence[str]
) -> int:
    """Insert notifications, in the caller's transaction; returns the number of new rows."""
    if not notifications or not addresses:
        return 0
    rows = [(*each[:4], _json_of(each.content), each.expires_s) for each in notifications]
    columns = [list(column) for column in zip(*rows, strict=True)]
    return connection.execute(RECORD_NOTIFICATIONS, [*columns, list(addresses)]).rowcount


def record_summaries(connection: DbConnection, summaries: Iterable[NewSummary], addresses: Sequence[str]) -> int:
    """Insert summaries, or make those due again that have no text yet; returns the number of these rows."""
    each_once = set(summaries)
    if not each_once or not addresses:
        return 0
    columns = [list(column) for column in zip(*each_once, strict=True)]
    return connection.execute(RECORD_SUMMARIES, [*columns, list(addresses)]).rowcount


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


def write_text(connection: DbConnection, summary: PendingSummary, text: str, content: Content | None = None) -> int:
    """Set the summary's text at every address, unless it has one; returns the number of changed rows."""
    return connection.execute(WRITE_TEXT, [text, _json_of(content), summary.record_id, summary.rule]).rowcount


def rewrite_notification(
    connection: DbConnection, record_id: UUID, rule: str, text: str, content: Content | None = None
) -> int:
    """Change a notification at every address, in the caller's transaction; returns the number of changed rows.

    Channels that can edit show the change on messages that were sent. Rows that were not sent yet are sent changed.
    """
    return connection.execute(REWRITE, [text, _json_of(content), record_id, rule]).rowcount


def discard_summary(connection: DbConnection, summary: PendingSummary) -> int:
    """Ignore the summary until it is recorded again; returns the number of changed rows."""
    return connection.execute(DISCARD_SUMMARY, [summary.record_id, summary.rule, summary.due_at]).rowcount


def retry_notification(connection: DbConnection, id_: int) -> bool:
    """Send a notification that failed, expired or is of unknown delivery. Returns False in any other state."""
    return connection.execute(RETRY, [id_]).rowcount == 1


def discard_notification(connection: DbConnection, id_: int, reason: str) -> bool:
    """Let a notification expire that failed or is of unknown delivery. Returns False in any other state."""
    return connection.execute(DISCARD, [reason, id_]).rowcount == 1


def _json_of(content: Content | None) -> str | None:
    return None if content is None else content.model_dump_json()
