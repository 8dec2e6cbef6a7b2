"""Reads where the services' replicas can be reached, from their heartbeats."""

from __future__ import annotations

from shared.database.connection import DbConnection
from shared.ops.tables.orders import FRESH_S


def live_urls(connection: DbConnection, service: str) -> list[str]:
    """URLs of the live replicas of a service, ready ones first."""
    rows = connection.execute(
        "SELECT admin_url FROM ops.replicas WHERE service = %s AND admin_url IS NOT NULL AND state <> 'stopped'"
        " AND seen_at > clock_timestamp() - make_interval(secs => %s) ORDER BY NOT ready, replica",
        (service, FRESH_S),
    ).fetchall()
    return [str(row[0]) for row in rows]
