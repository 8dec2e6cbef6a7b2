"""Marks days whose files are outdated: those that a batch changed, and those that an export operation requests."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

from shared.database.connection import DbConnection
from shared.errors import ConfigError
from shared.ops.operations import Operation
from shared.runtime.process.operation_poller import OperationProgress

KIND = "export"


def mark_days_changed(connection: DbConnection, days: Collection[tuple[str, date]]) -> None:
    """Mark the files of these days, by source, as outdated. Call it late and once in a transaction: concurrent loaders
    lock the same rows, in the order of the days."""
    if not days:
        return
    sources, dates = zip(*days, strict=True)
    connection.execute(
        "INSERT INTO facts.export_days (source_id, date)"
        " SELECT s.id, d.date FROM unnest(%s::text[], %s::date[]) AS d (source, date)"
        " JOIN facts.sources s ON s.name = d.source ORDER BY 1, 2"
        " ON CONFLICT (source_id, date) DO UPDATE SET touched = export_days.touched + 1",
        (list(sources), list(dates)),
    )


def mark_days_outdated(connection: DbConnection, first: date, last: date) -> dict[str, Any]:
    """Mark the days' files as outdated; returns the operation's target. Raises ConfigError if no such day is loaded."""
    days: dict[str, int] = {}
    for day, touched in connection.execute(
        "UPDATE facts.export_days SET touched = touched + 1 WHERE date BETWEEN %s AND %s RETURNING date, touched",
        (first, last),
    ):
        days[day.isoformat()] = days.get(day.isoformat(), 0) + touched
    if not days:
        raise ConfigError(f"nothing is loaded for {first} to {last}, so there is nothing to export")
    return {"from": first.isoformat(), "to": last.isoformat(), "days": days}


def export_status(connection: DbConnection, operation: Operation) -> OperationProgress | None:
    """How many of the operation's days are written; a day counts when its files include all its changes."""
    if operation.wanted == "cancel":
        return OperationProgress(operation.counts, operation.progress, final_state="cancelled")
    days: dict[str, int] = operation.target["days"]
    exported_counts = dict(
        connection.execute(
            "SELECT date::text, sum(exported)::bigint FROM facts.export_days WHERE date = ANY(%s::date[])"
            " GROUP BY date",
            (list(days),),
        ).fetchall()
    )
    open_days = sorted(day for day, touched in days.items() if exported_counts.get(day, 0) < touched)
    counts = {"days": len(days), "written": len(days) - len(open_days)}
    if not open_days:
        return OperationProgress(counts, 1.0, final_state="succeeded")
    waiting_for = f"{len(open_days)} days, first {open_days[0]}: a day is written when its events have ended"
    return OperationProgress(counts, counts["written"] / len(days), waiting_for)
