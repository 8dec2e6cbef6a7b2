"""Reads and writes who wants to be told by direct message (table notifier.subscriptions).

Every function runs within the caller's transaction.
"""

from __future__ import annotations

from typing import NamedTuple

from services.notifier.findings.finding import CalledOff, Daily, Finding
from services.notifier.storage.search import pattern_of
from shared.database.connection import DbConnection
from shared.errors import HeadraceError

MAX_PER_PERSON = 20
MAX_TOTAL = 5_000

_COLUMNS = "id, person_id, rule, venue, entity_key"
SUBSCRIBERS = """
SELECT DISTINCT person_id FROM notifier.subscriptions
WHERE rule = %(rule)s AND (venue IS NULL OR venue = %(venue)s)
  AND (entity_key IS NULL OR entity_key IN (
      SELECT entity_key FROM analytics.entries WHERE event_key = %(event_key)s))
ORDER BY person_id"""


class TooManySubscriptions(HeadraceError):
    """The person, or all persons together, have as many subscriptions as are allowed."""


class Subscription(NamedTuple):
    """`venue` and `entity_key` limit what is told; None means all."""

    id: int
    person_id: int
    rule: str
    venue: int | None
    entity_key: str | None


def subscribe(
    connection: DbConnection, person_id: int, rule: str, venue: int | None, entity_key: str | None
) -> Subscription:
    """Add a subscription; one that exists is returned. Raises TooManySubscriptions."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('notifier.subscriptions'))")
    own = subscriptions_of(connection, person_id)
    for each in own:
        if (each.rule, each.venue, each.entity_key) == (rule, venue, entity_key):
            return each
    if len(own) >= MAX_PER_PERSON:
        raise TooManySubscriptions(f"you have {MAX_PER_PERSON} subscriptions, which is the limit: remove one first")
    total = connection.execute("SELECT count(*) FROM notifier.subscriptions").fetchone()
    if total is not None and total[0] >= MAX_TOTAL:
        raise TooManySubscriptions(f"all persons together have {MAX_TOTAL:,} subscriptions, which is the limit")
    row = connection.execute(
        "INSERT INTO notifier.subscriptions (person_id, rule, venue, entity_key) VALUES (%s, %s, %s, %s)"
        f" RETURNING {_COLUMNS}",
        (person_id, rule, venue, entity_key),
    ).fetchone()
    assert row is not None  # noqa: S101  # RETURNING of an insert always gives the row
    return Subscription(*row)


def unsubscribe(connection: DbConnection, person_id: int, rule: str | None = None) -> int:
    """Remove the person's subscriptions to a rule, or all; returns their number."""
    return connection.execute(
        "DELETE FROM notifier.subscriptions WHERE person_id = %s AND rule = coalesce(%s, rule)", (person_id, rule)
    ).rowcount


def remove_subscription(connection: DbConnection, person_id: int, subscription_id: int) -> bool:
    """Remove one subscription of the person. Returns False if there is none with this id."""
    return (
        connection.execute(
            "DELETE FROM notifier.subscriptions WHERE person_id = %s AND id = %s", (person_id, subscription_id)
        ).rowcount
        == 1
    )


def subscriptions_of(connection: DbConnection, person_id: int) -> list[Subscription]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM notifier.subscriptions WHERE person_id = %s ORDER BY id", (person_id,)
    ).fetchall()
    return [Subscription(*row) for row in rows]


def subscriber_addresses(connection: DbConnection, rule: str, finding: Finding) -> list[str]:
    """The addresses of the persons who subscribed to the rule, for what the finding is about."""
    venue: int | None
    match finding:
        case CalledOff(session):
            venue, event_key = session.venue, ""
        case Daily():
            venue, event_key = None, ""
        case _:
            venue, event_key = finding.event.session.venue, finding.event.event_key
    return [f"discord-bot/user/{person}" for person in subscribers_of(connection, rule, venue, event_key)]


def drop_person(connection: DbConnection, person_id: int, reason: str) -> int:
    """Remove the person's subscriptions, and what waits to be sent to them; returns the number of subscriptions."""
    connection.execute(
        "UPDATE notifier.ledger SET state = 'expired', error = %s WHERE channel = %s AND state = 'pending'",
        (reason, f"discord-bot/user/{person_id}"),
    )
    return unsubscribe(connection, person_id)


def subscribers_of(connection: DbConnection, rule: str, venue: int | None, event_key: str) -> list[int]:
    """The persons who subscribed to the rule for this venue and for one of the event's entities, or for all."""
    rows = connection.execute(SUBSCRIBERS, {"rule": rule, "venue": venue, "event_key": event_key}).fetchall()
    return [row[0] for row in rows]


def matching_entities(connection: DbConnection, typed: str) -> list[tuple[str, str]]:
    """(name, key) of entities whose name contains what was typed, at most 25."""
    pattern = pattern_of(typed)
    return connection.execute(
        "SELECT name, entity_key FROM analytics.entities WHERE name ILIKE %s OR entity_key ILIKE %s"
        " ORDER BY name, entity_key LIMIT 25",
        (pattern, pattern),
    ).fetchall()
