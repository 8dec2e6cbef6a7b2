"""One call of a handler inside a unit: all that it did is undone when it raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import psycopg

from shared.broker.contract import DatabaseUnit, NewRecord, Unit
from shared.errors import TransientError
from shared.records import Received
from shared.runtime.loops.handler import DatabaseHandle


def attempt_in(unit: Unit, handle: DatabaseHandle, batch: Sequence[Received]) -> Sequence[NewRecord]:
    """Raises what the handler raises; TransientError where it is the database that is in trouble."""
    connection = cast("DatabaseUnit", unit).connection
    try:
        connection.execute("SELECT")  # opens the unit's transaction, so that the next line makes a savepoint
        with connection.transaction():
            return handle(batch, connection)
    except psycopg.Error as error:
        if connection.closed or _may_pass(error):
            raise TransientError(f"the database is away: {error}") from error
        raise


def _may_pass(error: psycopg.Error) -> bool:
    """Whether the database is in trouble, and not the record: a program limit (SQLSTATE class 54, say a value too long
    for an index) counts as operational for psycopg, but no waiting makes the value shorter."""
    trouble = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return trouble and not (error.sqlstate or "").startswith("54")
