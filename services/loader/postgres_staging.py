"""Staging tables: temporary, one for each table that is merged, emptied at commit.

Each is made at its first use in a session. Every commit that used one of them empties all of the session, so a loader
of small units should have few.
"""

from __future__ import annotations

from shared.database.connection import DbConnection


def prepare_stage(connection: DbConnection, name: str, *, columns: str = "", query: str = "") -> None:
    """Create the table, or empty it: a batch may be handled in parts (runtime/loops/batch.py), and the rows of an
    earlier part must not be merged again. Give its columns, or a query that has them."""
    size = connection.execute("SELECT pg_relation_size(to_regclass(%s))", (f"pg_temp.{name}",)).fetchone()
    if size == (None,):
        definition = f"({columns}) ON COMMIT DELETE ROWS" if columns else f"ON COMMIT DELETE ROWS AS {query}"
        connection.execute(f"CREATE TEMP TABLE {name} {definition}")
    elif size != (0,):
        connection.execute(f"TRUNCATE {name}")
