"""Stores the bot's interactions (table notifier.interactions), each of which is handled once.

All times are the database's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection

# The token of an interaction allows answers for 15 minutes. A successor needs some of it to answer.
ANSWERABLE_S = 14 * 60.0
KEPT_S = 24 * 3600.0


def receive(connection: DbConnection, payload: Mapping[str, Any], replica: str) -> bool:
    """Store an interaction. Returns False if it is stored already, perhaps by another replica."""
    content = {name: value for name, value in payload.items() if name != "token"}
    return (
        connection.execute(
            "INSERT INTO notifier.interactions (id, token, payload, replica) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (id) DO NOTHING",
            (int(payload["id"]), payload["token"], Jsonb(content), replica),
        ).rowcount
        == 1
    )


def finish(connection: DbConnection, interaction_id: int) -> None:
    """Mark the interaction as answered and remove its token."""
    connection.execute(
        "UPDATE notifier.interactions SET done_at = clock_timestamp(), token = NULL WHERE id = %s", (interaction_id,)
    )


def take_over(connection: DbConnection, replica: str) -> list[dict[str, Any]]:
    """The open interactions of other replicas that can still be answered. They belong to this replica afterwards."""
    rows = connection.execute(
        "UPDATE notifier.interactions SET replica = %s WHERE done_at IS NULL AND replica <> %s AND token IS NOT NULL"
        " AND received_at > clock_timestamp() - make_interval(secs => %s) RETURNING payload, token, id",
        (replica, replica, ANSWERABLE_S),
    ).fetchall()
    return [payload | {"token": token} for payload, token, _ in sorted(rows, key=lambda row: int(row[2]))]


class StoredInteraction(NamedTuple):
    """The payload of an interaction, without its token, and when it arrived."""

    payload: dict[str, Any]
    received_at: datetime


def stored(connection: DbConnection, interaction_id: int) -> StoredInteraction | None:
    """An earlier interaction; None if it is unknown."""
    row = connection.execute(
        "SELECT payload, received_at FROM notifier.interactions WHERE id = %s", (interaction_id,)
    ).fetchone()
    return None if row is None else StoredInteraction(row[0] | {"token": ""}, row[1])


def decide(connection: DbConnection, interaction_id: int, decision: str) -> str | None:
    """Record the decision about an earlier interaction unless it has one; returns the one that holds.

    None if the interaction is unknown.
    """
    row = connection.execute(
        "UPDATE notifier.interactions SET payload = jsonb_build_object('decision', %s::text) || payload"
        " WHERE id = %s RETURNING payload ->> 'decision'",
        (decision, interaction_id),
    ).fetchone()
    return None if row is None else str(row[0])


def purge(connection: DbConnection) -> None:
    """Delete interactions that are too old to be confirmed or answered."""
    connection.execute(
        "DELETE FROM notifier.interactions WHERE received_at < clock_timestamp() - make_interval(secs => %s)", (KEPT_S,)
    )
