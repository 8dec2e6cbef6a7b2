"""Stores replay plans and starts replays, in ops.plans and ops.operations.

Every function runs within the caller's transaction.
"""

from __future__ import annotations

from shared.database.connection import DbConnection
from shared.ops.operations import NotPossible, Operation
from shared.ops.replays import ReplayPlan, overlap, plan_of
from shared.ops.tables import plans as plans_table
from shared.ops.tables.operations import create

REPLAY = "replay"


def store_plan(connection: DbConnection, service: str, plan: ReplayPlan) -> str:
    return plans_table.store(connection, service, REPLAY, plan.as_json())


def load_plan(connection: DbConnection, service: str, plan_id: str) -> ReplayPlan:
    """The plan. Raises ConfigError if it does not exist or has expired."""
    return plan_of(plans_table.load(connection, service, REPLAY, plan_id))


def start(
    connection: DbConnection,
    service: str,
    plan: ReplayPlan,
    requested_by: str,
    request_id: str,
    *,
    plan_id: str | None = None,
    again: bool = False,
) -> Operation:
    """Creates the replay operation of a plan; a replica claims it later.

    Raises NotPossible if the plan was executed before and `again` is not set, or if an open replay may select the same
    records. A lock makes the check and the insert atomic.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('headrace replays'), hashtext(%s))", (service,))
    if plan_id is not None and not again and (earlier_id := _execution_of(connection, plan_id)) is not None:
        raise NotPossible(
            f'plan {plan_id} was executed as operation {earlier_id}; to execute it once more, send "again": true'
        )
    for other_id, stored in connection.execute(
        "SELECT id, target FROM ops.operations WHERE service = %s AND kind = %s AND finished_at IS NULL ORDER BY id",
        (service, REPLAY),
    ).fetchall():
        if (where := overlap(plan, plan_of(stored))) is not None:
            raise NotPossible(
                f"operation {other_id} is an open replay that may select the same records ({where}):"
                " wait until it ends, cancel it, or choose other records"
            )
    return create(connection, service, REPLAY, {**plan.as_json(), "plan_id": plan_id}, requested_by, request_id)


def _execution_of(connection: DbConnection, plan_id: str) -> str | None:
    row = connection.execute(
        "SELECT id FROM ops.operations WHERE kind = %s AND target ->> 'plan_id' = %s ORDER BY id DESC LIMIT 1",
        (REPLAY, plan_id),
    ).fetchone()
    return None if row is None else str(row[0])


def revisions_to_notify(connection: DbConnection, revisions: list[str]) -> frozenset[str]:
    """The revisions that belong to replays with `notify` set."""
    rows = connection.execute(
        "SELECT id FROM ops.operations WHERE id = ANY(%s) AND kind = %s AND target -> 'notify' = 'true'",
        (revisions, REPLAY),
    ).fetchall()
    return frozenset(row[0] for row in rows)
