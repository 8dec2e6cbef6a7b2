"""Stores the plans of dry runs in ops.plans, so that exactly a plan can be executed later.

Every function runs within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection
from shared.errors import ConfigError

RETENTION_H = 48


def store(connection: DbConnection, service: str, kind: str, plan: Mapping[str, Any]) -> str:
    """Stores a plan for this kind of operation and returns its id. Deletes expired plans."""
    connection.execute("DELETE FROM ops.plans WHERE created_at < now() - make_interval(hours => %s)", (RETENTION_H,))
    row = connection.execute(
        "INSERT INTO ops.plans (service, kind, plan) VALUES (%s, %s, %s) RETURNING id", (service, kind, Jsonb(plan))
    ).fetchone()
    assert row is not None  # noqa: S101  # RETURNING of an insert always gives the row
    return str(row[0])


def load(connection: DbConnection, service: str, kind: str, plan_id: str) -> dict[str, Any]:
    """The plan. Raises ConfigError if it does not exist or has expired."""
    row = connection.execute(
        "SELECT plan FROM ops.plans WHERE id = %s AND service = %s AND kind = %s"
        " AND created_at >= now() - make_interval(hours => %s)",
        (plan_id, service, kind, RETENTION_H),
    ).fetchone()
    if row is None:
        raise ConfigError(f"{service} has no plan {plan_id}; plans are kept for {RETENTION_H} h: make a new dry run")
    plan: dict[str, Any] = row[0]
    return plan
