"""Claims the ledger's rows for the sender, and writes what became of them.

States: pending -> sending -> sent | failed | unknown | expired, and back from sending to pending for another attempt or
a later time. If a sender dies between sending and marking, the row stays in `sending`, and it is not known whether the
message was delivered. When the lease ends, a channel that can tell verifies it (`claim_verification`). For any other,
the row becomes `unknown` (crash policy `park`: perhaps never sent) or `pending` (`retry`: perhaps sent twice). A row in
`unknown` is sent again only if an operator requests it. A row whose senders died MAX_INTERRUPTIONS times becomes
`failed`: its message may be the cause.

Rows with the same `group_id` are sent together in one message, a digest. They are claimed through the one with the
lowest id, so two senders cannot share a group, and each change concerns all of them.

A loop of a sender has at most one claim at a time, and knows whether it sent its message. If the reply to a claim is
lost, the loop gives the rows back (`give_back_unsent`): `claimed_by` says that they are its own. A row that is verified
has none, because an earlier sender may have sent it.

All times are the database's clock, because senders on several machines must agree on leases and delays. A virtual clock
that runs a thousand times as fast would end a lease before the message is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg.rows import class_row

from services.notifier.channels.base import Receipt
from services.notifier.texts.content import Content
from shared.database.connection import DbConnection

CrashPolicy = Literal["park", "retry"]
MAX_ERROR_LENGTH = 1_000
# The number of senders that may die with a message before it is given up.
MAX_INTERRUPTIONS = 5
GIVEN_UP = (
    f"{MAX_INTERRUPTIONS} senders died between sending and marking this message: it may be the cause, so it is not sent"
    " again, and it is not known whether it was delivered"
)
INTERRUPTED = "the sender died between sending and marking: it is not known whether the message was delivered"

OF_KIND = "(channel = %(kind)s OR starts_with(channel, %(kind)s || '/'))"
COLUMNS = """ledger.id, ledger.attempts, ledger.record_id, ledger.rule, ledger.event_key, ledger.text,
    ledger.channel AS address, ledger.content, ledger.version, ledger.created_at, ledger.expires_at,
    ledger.group_id, ledger.external_id, ledger.interruptions, clock_timestamp() AS claimed_at"""
_LEADS_GROUP = """(group_id IS NULL OR NOT EXISTS (
        SELECT FROM notifier.ledger AS other
        WHERE other.group_id = ledger.group_id AND other.state = ledger.state AND other.id < ledger.id))"""
WITH_ITS_GROUP = "(ledger.id = lead.id OR ledger.group_id = lead.group_id)"
CLAIM = f"""
WITH lead AS MATERIALIZED (
    SELECT id, group_id FROM notifier.ledger
    WHERE {OF_KIND} AND state = 'pending' AND text IS NOT NULL AND due_at <= clock_timestamp()
      AND coalesce(channel = %(only)s, channel <> ALL(%(paused)s))
      AND (channel <> ALL(%(paced)s) OR rule = ANY(%(alerts)s)) AND {_LEADS_GROUP}
    ORDER BY rule = ANY(%(alerts)s) DESC, due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE notifier.ledger SET state = 'sending', attempts = attempts + 1, claimed_at = clock_timestamp(),
    claimed_by = %(claimed_by)s
FROM lead WHERE {WITH_ITS_GROUP} AND ledger.state = 'pending'
RETURNING {COLUMNS}"""
# The first row is already claimed. An alert is never part of a digest.
JOIN = f"""
WITH waiting AS MATERIALIZED (
    SELECT id FROM notifier.ledger
    WHERE channel = %(address)s AND state = 'pending' AND text IS NOT NULL AND due_at <= clock_timestamp()
      AND group_id IS NULL AND rule <> ALL(%(alerts)s)
    ORDER BY due_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE notifier.ledger SET state = 'sending', group_id = %(group_id)s, claimed_at = clock_timestamp(),
    claimed_by = %(claimed_by)s,
    attempts = attempts + CASE state WHEN 'pending' THEN 1 ELSE 0 END
WHERE (id = %(id)s AND attempts = %(attempts)s AND state = 'sending' AND EXISTS (SELECT FROM waiting))
   OR id IN (SELECT id FROM waiting)
RETURNING {COLUMNS}"""
# A row whose sender is alive, but slow, is verified too; its mark is then rejected because `attempts` differs.
CLAIM_VERIFICATION = f"""
WITH lead AS MATERIALIZED (
    SELECT id, group_id FROM notifier.ledger
    WHERE {OF_KIND} AND state = 'sending' AND claimed_at < clock_timestamp() - make_interval(secs => %(lease_s)s)
      AND channel <> ALL(%(paused)s) AND {_LEADS_GROUP}
    ORDER BY claimed_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE notifier.ledger SET attempts = attempts + 1, interruptions = interruptions + 1, claimed_at = clock_timestamp(),
    claimed_by = NULL
FROM lead WHERE {WITH_ITS_GROUP} AND ledger.state = 'sending'
RETURNING {COLUMNS}"""
# `attempts` identifies the claim. A row may still be marked after its lease, because its sender knows the outcome.
CLAIMED = """
FROM unnest(%(ids)s::bigint[], %(attempts)s::integer[], %(versions)s::bigint[]) AS claim (id, attempts, version)
WHERE ledger.id = claim.id AND ledger.attempts = claim.attempts"""
_OPEN = "ledger.state IN ('sending', 'unknown', 'pending')"
SENT = f"""
UPDATE notifier.ledger SET state = 'sent', sent_at = clock_timestamp(), due_at = clock_timestamp(), error = NULL,
    shown_version = claim.version, external_id = %(external_id)s, thread_id = %(thread_id)s
{CLAIMED} AND {_OPEN}"""
ENDED = f"UPDATE notifier.ledger SET state = %(state)s, error = %(error)s {CLAIMED} AND {_OPEN}"
DELAYED = f"""
UPDATE notifier.ledger SET state = 'pending', error = %(error)s,
    due_at = clock_timestamp() + make_interval(secs => %(delay_s)s)
{CLAIMED} AND {_OPEN}"""
# Nothing was sent, so the claim counts as no attempt.
RELEASED = f"""
UPDATE notifier.ledger SET state = %(state)s, error = coalesce(%(error)s, error),
    group_id = CASE WHEN %(keep_group)s THEN group_id END,
    attempts = ledger.attempts - 1, due_at = coalesce(%(due_at)s, due_at)
{CLAIMED} AND ledger.state = 'sending'"""
# What was attempted may be part of a digest that its receiver knows.
WAITING = f"""
SELECT {COLUMNS} FROM notifier.ledger
WHERE channel = ANY(%(addresses)s) AND state = 'pending' AND text IS NOT NULL AND due_at <= clock_timestamp()
  AND group_id IS NULL AND id > %(after)s ORDER BY id LIMIT %(limit)s"""
EXPIRED_WAITING = (
    f"UPDATE notifier.ledger SET state = 'expired', error = %(error)s {CLAIMED} AND ledger.state = 'pending'"
)
# The sender lives, so the claim that verifies the row does not count as an interruption.
UNVERIFIED = f"""
UPDATE notifier.ledger SET error = %(error)s, interruptions = ledger.interruptions - 1, claimed_by = NULL,
    claimed_at = clock_timestamp() + make_interval(secs => %(delay_s)s - %(lease_s)s)
{CLAIMED} AND ledger.state = 'sending'"""
# A digest that was never attempted is dissolved.
GIVE_BACK = """
UPDATE notifier.ledger SET state = 'pending', attempts = attempts - 1, claimed_by = NULL,
    group_id = CASE WHEN attempts > 1 THEN group_id END
WHERE state = 'sending' AND claimed_by = %s"""
EXPIRE = f"""
UPDATE notifier.ledger SET interruptions = interruptions + 1,
    state = CASE WHEN interruptions + 1 >= %(max)s AND %(state)s = 'pending' THEN 'failed' ELSE %(state)s END,
    error = CASE WHEN interruptions + 1 >= %(max)s THEN %(given_up)s ELSE %(error)s END
WHERE {OF_KIND} AND state = 'sending' AND claimed_at < clock_timestamp() - make_interval(secs => %(lease_s)s)"""


class Claim(NamedTuple):
    """A row that the caller may send until the lease ends; `attempts` includes this attempt, and identifies the claim.

    `claimed_at` is the database's time of the claim.
    """

    id: int
    attempts: int
    record_id: UUID
    rule: str
    event_key: str
    text: str
    address: str
    content: Content | None
    version: int
    created_at: datetime
    expires_at: datetime | None
    group_id: UUID | None
    external_id: str | None
    interruptions: int
    claimed_at: datetime


Claims = Sequence[Claim]
"""The rows of one message, by id: one row, or those of a digest."""


class ClaimChoice(NamedTuple):
    """Which rows to claim: alerts (their rules) first, none of `paused` addresses, only alerts of `paced` addresses.

    With `only`, rows of this address, also if it is paused.
    """

    alerts: Collection[str] = ()
    paused: Collection[str] = ()
    paced: Collection[str] = ()
    only: str | None = None


ANY = ClaimChoice()
NO_RECEIPT = Receipt()


def claim(connection: DbConnection, kind: str, choice: ClaimChoice = ANY, claimed_by: UUID | None = None) -> Claims:
    """Claim the due row of this kind of channel that goes first, with its digest; empty if none is due.

    Alerts go first, then the row that has been due longest. Concurrent callers get different rows. `claimed_by`
    identifies the caller to `give_back_unsent`.
    """
    lists = {"alerts": list(choice.alerts), "paused": list(choice.paused), "paced": list(choice.paced)}
    return read_claims(connection, CLAIM, {"kind": kind, "claimed_by": claimed_by, "only": choice.only} | lists)


def join_digest(
    connection: DbConnection,
    first: Claim,
    group_id: UUID,
    alerts: Collection[str],
    max_rows: int,
    claimed_by: UUID | None = None,
) -> Claims:
    """Claim rows that wait for the address of `first`, for one digest with it of up to `max_rows`.

    Returns all of its rows, empty if no other row waits.
    """
    values = {"id": first.id, "attempts": first.attempts, "address": first.address, "group_id": group_id}
    limits = {"alerts": list(alerts), "limit": max_rows - 1, "claimed_by": claimed_by}
    return read_claims(connection, JOIN, values | limits)


def give_back_unsent(connection: DbConnection, claimed_by: UUID) -> int:
    """Give back what the caller has claimed to send, and did not send: the reply to the claim was lost. Returns the
    number of rows. To be called while the caller has no claim that it knows of."""
    return connection.execute(GIVE_BACK, (claimed_by,)).rowcount


def claim_verification(connection: DbConnection, kind: str, lease_s: float, paused: Collection[str] = ()) -> Claims:
    """Claim a message that was sent, perhaps, by a sender whose lease is over; empty if there is none.

    None of `paused` addresses.
    """
    return read_claims(connection, CLAIM_VERIFICATION, {"kind": kind, "lease_s": lease_s, "paused": list(paused)})


def mark_sent(connection: DbConnection, claims: Claims, receipt: Receipt = NO_RECEIPT) -> bool:
    """Returns False if another sender has claimed a row since."""
    return mark(connection, SENT, claims, external_id=receipt.external_id, thread_id=receipt.thread_id)


def mark_ended(connection: DbConnection, claims: Claims, state: Literal["failed", "unknown"], reason: str) -> bool:
    """No further attempt follows. Returns False if another sender has claimed a row since."""
    return mark(connection, ENDED, claims, state=state, error=cut(reason))


def delay(connection: DbConnection, claims: Claims, delay_s: float, reason: str) -> bool:
    """Schedule another attempt in `delay_s`. Returns False if another sender has claimed a row since."""
    return mark(connection, DELAYED, claims, delay_s=delay_s, error=cut(reason))


def release(
    connection: DbConnection,
    claims: Claims,
    due_at: datetime | None = None,
    keep_group: bool = False,
    reason: str | None = None,
) -> bool:
    """Give back rows that were not sent, for `due_at` or, without it, at once. `reason`: why they were not sent."""
    error = None if reason is None else cut(reason)
    return mark(connection, RELEASED, claims, state="pending", error=error, due_at=due_at, keep_group=keep_group)


def waiting_at(connection: DbConnection, addresses: Collection[str], after: int, limit: int) -> Claims:
    """Rows that wait for these addresses, with ids above `after`, as they are: they are not claimed."""
    return read_claims(connection, WAITING, {"addresses": list(addresses), "after": after, "limit": limit})


def expire_waiting(connection: DbConnection, row: Claim, reason: str) -> bool:
    """Let a row of `waiting_at` expire. Returns False if it does not wait any more."""
    return mark(connection, EXPIRED_WAITING, [row], error=cut(reason))


def mark_expired(connection: DbConnection, claims: Claims, reason: str) -> bool:
    """The rows were not sent and will not be."""
    return mark(connection, RELEASED, claims, state="expired", error=cut(reason), due_at=None, keep_group=False)


def postpone_verification(
    connection: DbConnection, claims: Claims, delay_s: float, lease_s: float, reason: str
) -> bool:
    """Let the lease end in `delay_s`, so that the message is verified then. False if the claim was lost."""
    return mark(connection, UNVERIFIED, claims, delay_s=delay_s, lease_s=lease_s, error=cut(reason))


def expire_claims(connection: DbConnection, kind: str, lease_s: float, crash_policy: CrashPolicy) -> int:
    """Apply the crash policy to rows in `sending` for longer than the lease; returns the number of rows."""
    state = "unknown" if crash_policy == "park" else "pending"
    given_up = {"max": MAX_INTERRUPTIONS, "given_up": GIVEN_UP}
    values = {"kind": kind, "lease_s": lease_s, "state": state, "error": INTERRUPTED} | given_up
    return connection.execute(EXPIRE, values).rowcount


def read_claims(connection: DbConnection, statement: str, values: dict[str, Any]) -> Claims:
    """Execute a statement that returns COLUMNS."""
    with connection.cursor(row_factory=class_row(Claim)) as cursor:
        rows = cursor.execute(statement, values).fetchall()
    decoded = (row._replace(content=row.content and Content.model_validate(row.content)) for row in rows)
    return sorted(decoded, key=lambda each: each.id)


def mark(connection: DbConnection, statement: str, claims: Claims, **values: Any) -> bool:
    """Execute a statement that contains CLAIMED. Returns whether it changed all rows."""
    ids, attempts, versions = zip(*((each.id, each.attempts, each.version) for each in claims), strict=True)
    values |= {"ids": list(ids), "attempts": list(attempts), "versions": list(versions)}
    return connection.execute(statement, values).rowcount == len(claims)


def cut(reason: str) -> str:
    return reason[:MAX_ERROR_LENGTH]
