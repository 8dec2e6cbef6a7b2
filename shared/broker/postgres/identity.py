"""The identity of a database: the relay's cursors in Kafka are valid for one identity only (outbox_cursors.py)."""

from __future__ import annotations

from shared.database.connection import DbConnection


def database_id(connection: DbConnection) -> str | None:
    """The identity of this database; None if an earlier version made it and it was not migrated since."""
    if connection.execute("SELECT to_regclass('broker.outbox')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT id FROM broker.outbox").fetchone()
    return None if row is None else str(row[0])


def renew_database_id(connection: DbConnection) -> None:
    """Give this database a new identity, because its content is that of another moment: the relay copies the whole
    outbox again. The database must be migrated."""
    connection.execute("UPDATE broker.outbox SET id = gen_random_uuid(), has_old_cursors = false")
