"""Defines what a service plugs into a loop: a handler for the consumer loop, a source for the poller loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, cast

import psycopg

from shared.broker.contract import DatabaseUnit, NewRecord, Producer, Unit
from shared.broker.record_size import SizeLimits
from shared.database.connection import DbConnection
from shared.errors import TransientError
from shared.records import DecodedRecord
from shared.runtime.loops.trouble import raise_trouble

Handle = Callable[[Sequence[DecodedRecord]], Sequence[NewRecord]]
"""Turns a batch into output records. Must be safe to run twice on the same batch.

Raises InvalidEvent when a record of the batch is invalid (the loop finds it by bisection), TransientError when a
dependency is unavailable.
"""

DatabaseHandle = Callable[[Sequence[DecodedRecord], DbConnection], Sequence[NewRecord]]
"""A handler whose rows must commit together with the positions. The connection is inside the unit's transaction; the
handler must neither commit nor roll back."""


@dataclass(frozen=True)
class InUnit:
    """A handler that only returns records. Its outputs and the positions commit in one unit of the broker."""

    handle: Handle
    in_database: ClassVar[bool] = False
    slow: ClassVar[bool] = False

    def unit(self, producer: Producer) -> Unit:
        return producer.unit()

    def call(self, batch: Sequence[DecodedRecord], _unit: Unit, limits: SizeLimits) -> Sequence[NewRecord]:
        """Call the handler. If it raises, its effects are undone. Raises InvalidEvent for an output that is too
        large."""
        outputs = self.handle(batch)
        limits.require_fitting(outputs)
        return outputs


@dataclass(frozen=True)
class InThread(InUnit):
    """A handler that may take longer than the group's session timeout: it runs in a worker thread while the loop
    keeps polling with all partitions paused (slow_handler.py)."""

    slow: ClassVar[bool] = True


@dataclass(frozen=True)
class InTransaction:
    """A handler that writes rows. Rows, outputs and positions commit in one database transaction."""

    handle: DatabaseHandle
    in_database: ClassVar[bool] = True
    slow: ClassVar[bool] = False

    def unit(self, producer: Producer) -> Unit:
        return producer.db_unit()

    def call(self, batch: Sequence[DecodedRecord], unit: Unit, limits: SizeLimits) -> Sequence[NewRecord]:
        """Call the handler in a savepoint. If it raises, its effects are undone. Raises TransientError if the database
        is unavailable, InvalidEvent for an output that is too large."""
        connection = cast("DatabaseUnit", unit).connection
        try:
            connection.execute("SELECT")  # begins the unit's transaction, so that the next line creates a savepoint
            with connection.transaction():
                outputs = self.handle(batch, connection)
                limits.require_fitting(outputs)
                return outputs
        except psycopg.Error as error:
            raise_trouble(error, batch[0].record.place)
            if connection.closed:
                raise TransientError(f"the database connection broke: {error}") from error
            raise


Handler = InUnit | InThread | InTransaction


class SourceStep(NamedTuple):
    """One step of a source: records, and the cursors after them. Both are committed in one unit."""

    records: list[NewRecord]
    cursors: dict[str, bytes]


class Pollable(Protocol):
    """A source that the poller loop asks for its next step."""

    def load(self, cursors: Mapping[str, bytes]) -> None:
        """Continue from the committed cursors. Called at the start and after a failed unit."""
        ...

    def next(self, timeout_s: float) -> SourceStep | None:
        """The next step; None if nothing is due within the timeout."""
        ...
