"""The seams between the runtime and what a service adds of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from shared.broker.contract import NewRecord
from shared.database.connection import DbConnection
from shared.records import Received

Handle = Callable[[Sequence[Received]], Sequence[NewRecord]]
"""A batch in, records out. Must be safe to run twice on the same batch.

Raises InvalidEvent when a record of the batch is wrong (the loop finds out which one by bisecting), TransientError
when a dependency is away.
"""

DatabaseHandle = Callable[[Sequence[Received], DbConnection], Sequence[NewRecord]]
"""The same for a service whose rows must commit together with its position: the connection is inside the unit's
transaction, and the handler neither commits nor rolls back."""


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


def each(handle_one: Callable[[Received], Sequence[NewRecord]]) -> Handle:
    """Lift a function of one event to a batch."""

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        return [output for received in batch for output in handle_one(received)]

    return handle
