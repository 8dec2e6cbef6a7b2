"""The identity of a database: positions and cursors outside of it are valid for one identity only."""

from __future__ import annotations

from shared.database.connection import DbConnection


def database_id(connection: DbConnection) -> str | None:
    """The identity of this database; None if it has none yet."""
    if connection.execute("SELECT to_regclass('broker.identity')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT id FROM broker.identity").fetchone()
    return None if row is None else str(row[0])


def renew_database_id(connection: DbConnection) -> None:
    """Give this database a new identity, because its content is that of another moment or another database."""
    if database_id(connection) is not None:
        connection.execute("UPDATE broker.identity SET id = gen_random_uuid()")
