"""The identity of a database: cursors outside of it are valid for one identity only."""

from __future__ import annotations

from shared.database.connection import DbConnection


def database_id(connection: DbConnection) -> str | None:
    """The identity of this database; None if it has none."""
    if connection.execute("SELECT to_regclass('broker.outbox')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT id FROM broker.outbox").fetchone()
    return None if row is None else str(row[0])


def renew_database_id(connection: DbConnection) -> None:
    """Give this database a new identity, because its content is that of another moment. Cursors of before are not
    used any more."""
    if database_id(connection) is not None:
        connection.execute("UPDATE broker.outbox SET id = gen_random_uuid(), has_old_cursors = false")
