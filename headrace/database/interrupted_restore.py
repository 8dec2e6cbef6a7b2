"""Recognizes a database in which a restore was interrupted."""

from __future__ import annotations

import psycopg

from shared.errors import HeadraceError

# What the schemas of the database are called while their replacement is made.
REPLACED = "_replaced"


def require_no_interrupted_restore(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Raises HeadraceError that says how to go on. Services that started now would begin with empty tables."""
    is_interrupted = connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (f"ops{REPLACED}",)).fetchone()
    if is_interrupted is not None:
        name = connection.info.dbname
        raise HeadraceError(
            f"a restore into the database {name} was interrupted: repeat `headrace restore BACKUP --replace {name}`, or"
            " bring the former rows back with `headrace restore BACKUP`, which then changes nothing else"
        )
