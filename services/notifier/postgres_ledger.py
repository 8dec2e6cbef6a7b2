"""The ledger: what was told, is being told and will be told. Table: migrations/0001_ledger.sql.

A row without a text is a summary that is still to be composed (postgres_summaries.py), and not told before.

States: pending -> sending -> sent | failed | unknown, and back from sending to pending for another try. A sender that
dies between sending and marking leaves `sending`; nobody can know whether the message went out, so when the lease is
over the row becomes `unknown` (park: perhaps never told) or `pending` (retry: perhaps told twice).

All instants here are the database's own. They are leases and delays of real time, agreed between senders on several
machines; a virtual clock that runs a thousand times as fast would end a lease before the message is out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg.rows import class_row, tuple_row

from shared.database.connection import DbConnection

Undecided = Literal["park", "retry"]
LONGEST_ERROR = 1_000

RECORD = """
INSERT INTO notifier.ledger (record_id, rule, channel, event_key, text, created_at, due_at)
SELECT note.record_id, note.rule, channel, note.event_key, note.text, now(), now()
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
     AS note (record_id, rule, event_key, text, n)
CROSS JOIN unnest(%s::text[]) AS channel
ORDER BY note.n
ON CONFLICT (record_id, rule, channel) DO NOTHING"""
# Summaries, in the order of their ids: in these rows notifiers side by side meet. What is noted again is looked at once
# more.
RECORD_SUMMARY = """
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
# The attempt's number says whose claim it is. An expired one may still be marked: its sender knows more than the lease.
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
WRITTEN = "SELECT record_id FROM notifier.ledger WHERE record_id = ANY(%s) AND text IS NOT NULL"
UNWRITTEN = """
SELECT record_id, rule, event_key, max(due_at) AS due_at FROM notifier.ledger
WHERE text IS NULL AND due_at <= clock_timestamp()
GROUP BY record_id, rule, event_key ORDER BY max(due_at), record_id"""
WRITE = """
UPDATE notifier.ledger SET text = %s, due_at = clock_timestamp() WHERE record_id = %s AND rule = %s AND text IS NULL"""
# Unless somebody has noted it again since it was looked at: then there is news, and it is looked at again.
SHELVE = """
UPDATE notifier.ledger SET due_at = 'infinity'
WHERE record_id = %s AND rule = %s AND text IS NULL AND due_at = %s"""


class Note(NamedTuple):
    """A text to tell, on every channel."""

    record_id: UUID
    rule: str
    event_key: str
    text: str


class Summary(NamedTuple):
    """Something to sum up, on every channel; its text comes later."""

    record_id: UUID
    rule: str
    event_key: str


class Unwritten(NamedTuple):
    """A summary to compose, as it was noted last."""

    record_id: UUID
    rule: str
    event_key: str
    due_at: datetime


class Claim(NamedTuple):
    """A row that is ours to send until the lease is over; `attempts` counts this attempt too."""

    id: int
    attempts: int
    record_id: UUID
    rule: str
    event_key: str
    text: str


def record(connection: DbConnection, notes: Sequence[Note], channels: Sequence[str]) -> int:
    """Write down what to tell, inside the caller's transaction; returns how many rows are new."""
    if not notes or not channels:
        return 0
    columns = [list(column) for column in zip(*notes, strict=True)]
    return connection.execute(RECORD, [*columns, list(channels)]).rowcount


def record_summaries(connection: DbConnection, summaries: Iterable[Summary], channels: Sequence[str]) -> int:
    """Write down what is to be summed up; returns how many rows are new, or to be looked at again."""
    each_once = set(summaries)
    if not each_once or not channels:
        return 0
    columns = [list(column) for column in zip(*each_once, strict=True)]
    return connection.execute(RECORD_SUMMARY, [*columns, list(channels)]).rowcount


def written(connection: DbConnection, record_ids: Sequence[UUID]) -> set[UUID]:
    """Those that are in the ledger with their text, in whatever state."""
    if not record_ids:
        return set()
    with connection.cursor(row_factory=tuple_row) as cursor:
        return {row[0] for row in cursor.execute(WRITTEN, [list(record_ids)]).fetchall()}


def unwritten(connection: DbConnection) -> list[Unwritten]:
    """Summaries to compose, each once however many channels it is for."""
    with connection.cursor(row_factory=class_row(Unwritten)) as cursor:
        return cursor.execute(UNWRITTEN).fetchall()


def write(connection: DbConnection, note: Unwritten, text: str) -> int:
    """Give a summary its text, on every channel; the first one counts. Returns how many rows got it."""
    return connection.execute(WRITE, [text, note.record_id, note.rule]).rowcount


def shelve(connection: DbConnection, note: Unwritten) -> int:
    """Not to be looked at before it is noted again; returns how many rows."""
    return connection.execute(SHELVE, [note.record_id, note.rule, note.due_at]).rowcount


def claim(connection: DbConnection, channel: str) -> Claim | None:
    """Take the row of the channel that is due first, or None. No two callers get the same one."""
    with connection.cursor(row_factory=class_row(Claim)) as cursor:
        return cursor.execute(CLAIM, [channel]).fetchone()


def mark_sent(connection: DbConnection, claimed: Claim) -> bool:
    """False when another sender has taken the row since."""
    return connection.execute(SENT, [claimed.id, claimed.attempts]).rowcount == 1


def mark_failed(connection: DbConnection, claimed: Claim, reason: str) -> bool:
    """No further try. False when another sender has taken the row since."""
    return connection.execute(FAILED, [reason[:LONGEST_ERROR], claimed.id, claimed.attempts]).rowcount == 1


def delay(connection: DbConnection, claimed: Claim, delay_s: float, reason: str) -> bool:
    """Try again after `delay_s`. False when another sender has taken the row since."""
    values = [delay_s, reason[:LONGEST_ERROR], claimed.id, claimed.attempts]
    return connection.execute(DELAYED, values).rowcount == 1


def expire(connection: DbConnection, channel: str, lease_s: float, undecided: Undecided) -> int:
    """Settle what a dead sender left in `sending` longer than the lease; returns how many rows."""
    state = "unknown" if undecided == "park" else "pending"
    reason = "the sender died between sending and marking: whether this was told is not known"
    return connection.execute(EXPIRE, [state, reason, channel, lease_s]).rowcount
