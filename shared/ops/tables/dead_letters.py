"""Records which dead letters were redriven or discarded, in ops.dead_letters_settled.

A letter is open until an operator redrives or discards it, and never reopens: a record that fails again becomes a new
letter. Every function runs within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from shared.database.connection import DbConnection
from shared.ops.dead_letter_choice import DeadLetterSelection
from shared.ops.dead_letters import DeadLetterPlace, State
from shared.ops.operations import JOB_KINDS, Operation
from shared.ops.tables import plans as plans_table
from shared.ops.tables.operations import list_operations

Outcome = Literal["redriven", "discarded"]

REDRIVE = "redrive"


class DeadLetterSettlement(NamedTuple):
    """The outcome of one letter, and the operation that settled it."""

    outcome: Outcome
    operation_id: str
    reason: str | None
    settled_by: str
    settled_at: datetime


def lock(connection: DbConnection, service: str) -> None:
    """Blocks other redrives and discards of this service until the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('headrace dead letters'), hashtext(%s))", (service,))


def states(connection: DbConnection, service: str, except_by: str | None = None) -> dict[DeadLetterPlace, State]:
    """The state of every letter that is not open; letters settled by the operation `except_by` count as open."""
    rows = connection.execute(
        "SELECT p, off, outcome FROM ops.dead_letters_settled WHERE service = %s"
        " AND (%s::text IS NULL OR operation_id <> %s)",
        (service, except_by, except_by),
    ).fetchall()
    return {DeadLetterPlace(p, off): outcome for p, off, outcome in rows}


def settlement_of(connection: DbConnection, service: str, place: DeadLetterPlace) -> DeadLetterSettlement | None:
    row = connection.execute(
        "SELECT outcome, operation_id, reason, settled_by, settled_at FROM ops.dead_letters_settled"
        " WHERE service = %s AND p = %s AND off = %s",
        (service, *place),
    ).fetchone()
    return None if row is None else DeadLetterSettlement(*row)


def settle(
    connection: DbConnection,
    service: str,
    places: Collection[DeadLetterPlace],
    outcome: Outcome,
    operation_id: str,
    who: str,
    reason: str | None = None,
) -> int:
    """Settles letters that are still open and returns their number. Repeating it changes nothing."""
    if not places:
        return 0
    return connection.execute(
        "INSERT INTO ops.dead_letters_settled (service, p, off, outcome, operation_id, reason, settled_by)"
        " SELECT %s, w.p, w.off, %s, %s, %s, %s FROM unnest(%s::int[], %s::bigint[]) AS w(p, off)"
        " ON CONFLICT DO NOTHING",
        (
            service, outcome, operation_id, reason, who, [place.partition for place in places],
            [place.offset for place in places],
        ),
    ).rowcount  # fmt: skip


def open_redrives(connection: DbConnection, service: str) -> list[Operation]:
    """Redrives that may still send letters back."""
    redrives = list_operations(
        connection, service, kinds=[REDRIVE], states=["waiting", "running", "paused"], limit=1000
    )
    return [each for each in redrives if each.is_open and each.kind in JOB_KINDS]


def store_plan(
    connection: DbConnection, service: str, selection: DeadLetterSelection, counts: Mapping[str, int]
) -> str:
    return plans_table.store(connection, service, REDRIVE, {**selection.as_json(), "counts": dict(counts)})


def load_plan(connection: DbConnection, service: str, plan_id: str) -> tuple[DeadLetterSelection, dict[str, int]]:
    """The selection and its counts. Raises ConfigError if the plan does not exist or has expired."""
    plan = plans_table.load(connection, service, REDRIVE, plan_id)
    return DeadLetterSelection.from_json(plan), dict(plan["counts"])
