"""What became of dead letters, in ops.dead_letters_settled. Within the caller's transaction.

A letter is open until somebody sends it back or discards it, and then never again: a record that fails once more is a
letter of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from shared.database.connection import DbConnection
from shared.ops.dead_letter_choice import Selection
from shared.ops.dead_letters import Place, State
from shared.ops.operations import JOBS, Operation
from shared.ops.tables import plans as plans_table
from shared.ops.tables.operations import listing

Outcome = Literal["redriven", "discarded"]

REDRIVE = "redrive"


class Settled(NamedTuple):
    """What became of one letter, by which operation."""

    outcome: Outcome
    operation_id: str
    reason: str | None
    settled_by: str
    settled_at: datetime


def lock(connection: DbConnection, service: str) -> None:
    """Until the end of the transaction nobody else plans or discards anything of this service."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('headrace dead letters'), hashtext(%s))", (service,))


def states(connection: DbConnection, service: str, except_by: str | None = None) -> dict[Place, State]:
    """Of all letters that are not open; `except_by`: what this operation settled counts as open."""
    found = connection.execute(
        "SELECT p, off, outcome FROM ops.dead_letters_settled WHERE service = %s"
        " AND (%s::text IS NULL OR operation_id <> %s)",
        (service, except_by, except_by),
    ).fetchall()
    return {Place(p, off): outcome for p, off, outcome in found}


def settled(connection: DbConnection, service: str, place: Place) -> Settled | None:
    row = connection.execute(
        "SELECT outcome, operation_id, reason, settled_by, settled_at FROM ops.dead_letters_settled"
        " WHERE service = %s AND p = %s AND off = %s",
        (service, *place),
    ).fetchone()
    return None if row is None else Settled(*row)


def settle(
    connection: DbConnection,
    service: str,
    places: Collection[Place],
    outcome: Outcome,
    operation_id: str,
    who: str,
    reason: str | None = None,
) -> int:
    """Note it; how many were open until now. Safe to say twice."""
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
    """Those that may yet send letters back."""
    found = listing(connection, service, kinds=[REDRIVE], states=["waiting", "running", "paused"], limit=1000)
    return [each for each in found if each.is_open and each.kind in JOBS]


def keep_plan(connection: DbConnection, service: str, selection: Selection, counts: Mapping[str, int]) -> str:
    return plans_table.keep(connection, service, REDRIVE, {**selection.as_json(), "counts": dict(counts)})


def kept_plan(connection: DbConnection, service: str, plan_id: str) -> tuple[Selection, dict[str, int]]:
    """With what it counted. Raises ConfigError where there is none, or none any more."""
    plan = plans_table.kept(connection, service, REDRIVE, plan_id)
    return Selection.from_json(plan), dict(plan["counts"])
