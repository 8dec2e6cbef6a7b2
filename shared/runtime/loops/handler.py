"""What a service adds to a loop: a handler for the consumer loop, a source for the poller loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, cast

import psycopg

from shared.broker.contract import DatabaseUnit, NewRecord, Producer, Unit
from shared.database.connection import DbConnection
from shared.errors import TransientError
from shared.records import Received

Handle = Callable[[Sequence[Received]], Sequence[NewRecord]]
"""A batch in, records out. Must be safe to run twice on the same batch.

Raises InvalidEvent when a record of the batch is wrong (the loop finds out which one by bisecting), TransientError
when a dependency is away.
"""

DatabaseHandle = Callable[[Sequence[Received], DbConnection], Sequence[NewRecord]]
"""The same for a service whose rows must commit together with its position: the connection is inside the unit's
transaction, and the handler neither commits nor rolls back."""


@dataclass(frozen=True)
class InUnit:
    """A handler of records alone. Its outputs and the positions commit in one unit of the broker."""

    handle: Handle
    in_database: ClassVar[bool] = False
    slow: ClassVar[bool] = False

    def unit(self, producer: Producer) -> Unit:
        return producer.unit()

    def call(self, batch: Sequence[Received], _unit: Unit) -> Sequence[NewRecord]:
        """Raises what the handler raises; then everything that the call did is undone."""
        return self.handle(batch)


@dataclass(frozen=True)
class InThread(InUnit):
    """The same, for a handler that may take longer than a group waits for its members: it runs in a worker thread
    while the loop polls on with everything paused (slow_handler.py)."""

    slow: ClassVar[bool] = True


@dataclass(frozen=True)
class InTransaction:
    """A handler that writes rows. Rows, outputs and positions commit in one database transaction."""

    handle: DatabaseHandle
    in_database: ClassVar[bool] = True
    slow: ClassVar[bool] = False

    def unit(self, producer: Producer) -> Unit:
        return producer.db_unit()

    def call(self, batch: Sequence[Received], unit: Unit) -> Sequence[NewRecord]:
        """As above; TransientError if the database is the cause."""
        connection = cast("DatabaseUnit", unit).connection
        try:
            connection.execute("SELECT")  # opens the unit's transaction, so that the next line makes a savepoint
            with connection.transaction():
                return self.handle(batch, connection)
        except psycopg.Error as error:
            if connection.closed or _may_pass(error):
                raise TransientError(f"the database is away: {error}") from error
            raise


Handler = InUnit | InThread | InTransaction


def _may_pass(error: psycopg.Error) -> bool:
    """Whether the database is the cause, not the record. A program limit (SQLSTATE class 54, e.g. a value too long for
    an index) is an OperationalError too, but waiting does not make the value shorter."""
    operational = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return operational and not (error.sqlstate or "").startswith("54")


class Step(NamedTuple):
    """What a poller found: records and the cursors that say how far it is, one unit."""

    records: list[NewRecord]
    cursors: dict[str, bytes]


class Pollable(Protocol):
    """What the poller loop drives: a source that is asked for its next step."""

    def load(self, cursors: Mapping[str, bytes]) -> None:
        """Start over from the committed cursors: at start, and after a unit failed."""
        ...

    def next(self, timeout_s: float) -> Step | None:
        """The next step, or None when nothing is due within the timeout."""
        ...
