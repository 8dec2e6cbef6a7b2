"""Stores incidents in notifier.incidents, and their messages in the ledger.

Every function runs within the caller's transaction, so an incident and its messages are stored together or not at all.
The message of an incident is one ledger row per address. A change of the incident rewrites the row, and channels that
edit messages show it. For the other channels the end of the incident is a second row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from services.notifier.alerts import incidents
from services.notifier.alerts.conditions import Condition
from services.notifier.alerts.incidents import Incident, IncidentState
from services.notifier.alerts.text import incident_content, incident_text
from services.notifier.alerts.timers import IncidentKey
from services.notifier.rules.rule_book import RuleBook
from services.notifier.storage.postgres_ledger import NewNotification, record_notifications, rewrite_notification
from shared.database.connection import DbConnection

_COLUMNS = (
    "id, rule, kind, subject, severity, opened_at, last_seen_at, detail, acknowledged_at, acknowledged_by, resolved_at"
)
_STATE = (
    "CASE WHEN resolved_at IS NOT NULL THEN 'resolved' WHEN acknowledged_at IS NOT NULL THEN 'acknowledged'"
    " ELSE 'open' END"
)
_OPEN = (
    "INSERT INTO notifier.incidents (rule, kind, subject, severity, detail) VALUES (%s, %s, %s, %s, %s)"
    f" ON CONFLICT (rule, subject) WHERE resolved_at IS NULL DO NOTHING RETURNING {_COLUMNS}"
)
_STORE = (
    "UPDATE notifier.incidents SET severity = %s, detail = %s, last_seen_at = %s, acknowledged_at = %s,"
    " acknowledged_by = %s, resolved_at = %s WHERE id = %s"
)
# Where the opening was shown, or may have been, by a channel that cannot edit it. A row that was not sent yet is sent
# as it was rewritten, so it needs no second message.
_SHOWN = """
SELECT channel FROM notifier.ledger
WHERE record_id = %s AND rule = %s AND state IN ('sending', 'sent', 'unknown')
  AND split_part(channel, '/', 1) <> ALL(%s)
ORDER BY channel"""


def try_lock(connection: DbConnection) -> bool:
    """Lock the evaluation of alerts until the end of the transaction; False if another transaction has the lock."""
    row = connection.execute("SELECT pg_try_advisory_xact_lock(hashtext('headrace alerts'))").fetchone()
    return bool(row and row[0])


def open_incidents(connection: DbConnection) -> dict[IncidentKey, Incident]:
    """The incidents that are not resolved, locked until the end of the transaction."""
    with connection.cursor(row_factory=class_row(Incident)) as cursor:
        rows = cursor.execute(
            f"SELECT {_COLUMNS} FROM notifier.incidents WHERE resolved_at IS NULL ORDER BY id FOR UPDATE"
        ).fetchall()
    return {each.key: each for each in rows}


def list_incidents(
    connection: DbConnection, states: Sequence[IncidentState] = (), before: int | None = None, limit: int = 100
) -> list[Incident]:
    """Incidents, the newest first; `before` limits them to incidents older than this id."""
    with connection.cursor(row_factory=class_row(Incident)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM notifier.incidents"
            f" WHERE (%(states)s::text[] = '{{}}' OR {_STATE} = ANY(%(states)s))"
            " AND coalesce(id < %(before)s, true) ORDER BY id DESC LIMIT %(limit)s",
            {"states": list(states), "before": before, "limit": limit},
        ).fetchall()


def open_incident(
    connection: DbConnection, rule: str, condition: Condition, addresses: Sequence[str], book: RuleBook
) -> Incident | None:
    """Store a new incident and its messages; None if the rule has an open incident of this subject.

    `book` has the template of the rule.
    """
    with connection.cursor(row_factory=class_row(Incident)) as cursor:
        incident = cursor.execute(
            _OPEN, (rule, condition.kind, condition.subject, condition.severity, _json(condition.detail))
        ).fetchone()
    if incident is not None:
        message = NewNotification(
            incidents.record_id(incident.id), rule, _event_key(incident), incident_text(incident, book),
            incident_content(incident),
        )  # fmt: skip
        record_notifications(connection, [message], addresses)
    return incident


def refresh_incident(connection: DbConnection, incident: Incident, condition: Condition, at: datetime) -> None:
    """Store the newest values of the condition. Messages do not change, because they would change every 5 s."""
    _store(connection, incidents.refresh(incident, condition, at))


def acknowledge_incident(
    connection: DbConnection, incident_id: int, by: str, book: RuleBook
) -> tuple[Incident, Incident] | None:
    """The incident before and after; None if there is no such incident. Raises NotPossible if it is resolved."""
    with connection.cursor(row_factory=class_row(Incident)) as cursor:
        before = cursor.execute(
            f"SELECT {_COLUMNS} FROM notifier.incidents WHERE id = %s FOR UPDATE", (incident_id,)
        ).fetchone()
    if before is None:
        return None
    after = incidents.acknowledge(before, by, _now(connection))
    if after != before:
        _store(connection, after)
        _rewrite(connection, after, book)
    return before, after


def resolve_incident(
    connection: DbConnection, incident: Incident, editing: Collection[str], book: RuleBook
) -> Incident:
    """End the incident, and say so: in the message that was sent, or in a second one.

    `editing`: the kinds of channels that edit their messages.
    """
    resolved = incidents.resolve(incident, _now(connection))
    _store(connection, resolved)
    shown = connection.execute(_SHOWN, (incidents.record_id(incident.id), incident.rule, list(editing))).fetchall()
    _rewrite(connection, resolved, book)
    message = NewNotification(
        incidents.resolution_id(incident.id), incident.rule, _event_key(incident),
        incident_text(resolved, book, is_second=True), incident_content(resolved),
    )  # fmt: skip
    record_notifications(connection, [message], [address for (address,) in shown])
    return resolved


def _store(connection: DbConnection, incident: Incident) -> None:
    connection.execute(
        _STORE,
        (
            incident.severity, _json(incident.detail), incident.last_seen_at, incident.acknowledged_at,
            incident.acknowledged_by, incident.resolved_at, incident.id,
        ),
    )  # fmt: skip


def _rewrite(connection: DbConnection, incident: Incident, book: RuleBook) -> None:
    text, content = incident_text(incident, book), incident_content(incident)
    rewrite_notification(connection, incidents.record_id(incident.id), incident.rule, text, content)


def _event_key(incident: Incident) -> str:
    """An incident is about no event; its messages name the incident instead."""
    return f"incident/{incident.id}"


def _now(connection: DbConnection) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101  # the statement has no WHERE
    now: datetime = row[0]
    return now


def _json(detail: Any) -> Jsonb:
    return Jsonb(dict(detail))
