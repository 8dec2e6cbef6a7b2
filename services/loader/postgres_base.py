"""Base data: what codes mean, one table for each kind of code."""

from __future__ import annotations

from services.loader import resolve
from services.loader.rows import json_text
from services.loader.schema import REFERENCE_TABLES
from shared.broker.contract import DbConnection
from shared.errors import InvalidEvent
from shared.events import Reference


def write(connection: DbConnection, reference: Reference) -> bool:
    """Insert or update the rows; True if any changed. Codes that are no longer named stay: old facts use them."""
    if reference.table not in REFERENCE_TABLES:
        raise InvalidEvent(f"expected base data among {', '.join(REFERENCE_TABLES)}, got {reference.table!r}")
    source_id = resolve.sources(connection, [reference.source])[reference.source]
    rows = sorted(reference.rows, key=lambda row: row.code)
    changed = connection.execute(
        f"INSERT INTO facts.{reference.table} AS t (source_id, code, name, attributes)"
        " SELECT %s, w.* FROM unnest(%s::text[], %s::text[], %s::jsonb[]) AS w(code, name, attributes)"
        " ON CONFLICT (source_id, code) DO UPDATE SET name = excluded.name, attributes = excluded.attributes"
        " WHERE (t.name, t.attributes) IS DISTINCT FROM (excluded.name, excluded.attributes)",
        (
            source_id,
            [row.code for row in rows],
            [row.name for row in rows],
            [json_text(row.attributes) for row in rows],
        ),
    ).rowcount
    return changed > 0
