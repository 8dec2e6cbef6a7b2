"""Writes reference data: the meaning of a source's codes, one table for each kind of code."""

from __future__ import annotations

from services.loader import resolve
from services.loader.rows import json_text
from services.loader.schema import REFERENCE_TABLES
from shared.database.connection import DbConnection
from shared.errors import InvalidEvent
from shared.events import Reference


def insert_codes(connection: DbConnection, reference: Reference) -> None:
    """Insert a row without a name for each new code. Runs in the transaction for shared rows (load.py)."""
    if reference.table not in REFERENCE_TABLES:
        raise InvalidEvent(f"expected a reference table among {', '.join(REFERENCE_TABLES)}, got {reference.table!r}")
    source_id = resolve.sources(connection, [reference.source])[reference.source]
    connection.execute(
        f"INSERT INTO facts.{reference.table} (source_id, code) SELECT %s, w.code FROM unnest(%s::text[]) AS w(code)"
        f" WHERE NOT EXISTS (SELECT FROM facts.{reference.table} t WHERE t.source_id = %s AND t.code = w.code)"
        " ON CONFLICT DO NOTHING",
        (source_id, sorted(row.code for row in reference.rows), source_id),
    )


def update_codes(connection: DbConnection, reference: Reference) -> bool:
    """Update names and attributes; returns whether any row changed. Other codes stay, because old facts use them.

    A row with a later `known_at` is not changed. If the values are equal, only `known_at` advances.
    """
    rows = reference.rows
    values = (
        [row.code for row in rows],
        [row.name for row in rows],
        [json_text(row.attributes) for row in rows],
        reference.known_at,
        reference.source,
    )
    from_clause = (
        " FROM facts.sources s, unnest(%s::text[], %s::text[], %s::jsonb[]) AS w(code, name, attributes),"
        " CAST(%s AS timestamptz) AS at WHERE s.name = %s AND t.source_id = s.id AND t.code = w.code"
    )
    changed = connection.execute(
        f"UPDATE facts.{reference.table} t SET name = w.name, attributes = w.attributes, known_at = at {from_clause}"
        " AND coalesce(t.known_at <= at, true) AND (t.name, t.attributes) IS DISTINCT FROM (w.name, w.attributes)",
        values,
    ).rowcount
    connection.execute(f"UPDATE facts.{reference.table} t SET known_at = at {from_clause} AND t.known_at < at", values)
    return changed > 0
