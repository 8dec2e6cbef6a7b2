"""Consumer loops on a real log, and handlers for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shared.broker.contract import Broker, NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import DbConnection
from shared.errors import InvalidEvent
from shared.records import DecodedRecord
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.metrics import Metrics
from shared.topics import RAW
from tests.shared.runtime.loop_harness import number_of, output_of, tp_of

# The records of the first key are in partition 1, those of the second in partition 0.
KEYS = [next(key for key in "abcdefghijk" if tp_of(key).partition == p) for p in (1, 0)]


def loop_of(broker: Broker, **parts: Any) -> ConsumerLoop:
    arguments: dict[str, Any] = {"service": "cleaner", "slot": "0", "reads": [RAW], "metrics": Metrics(), **parts}
    return ConsumerLoop(broker, **arguments)


def copy(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
    return [output_of(received) for received in batch]


def refusing(
    *bad: int, error: type[Exception] = InvalidEvent, key: str = ""
) -> Callable[[Sequence[DecodedRecord]], list[NewRecord]]:
    """A handler that fails if the batch contains one of the `bad` numbers (of that key)."""

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        for received in batch:
            if number_of(received) in bad and received.message.event_key.endswith(key):
                raise error(f"expected another number than {number_of(received)}\ud800")
        return copy(batch)

    return handle


def insert(batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
    for received in batch:
        connection.execute("INSERT INTO rows VALUES (%s, 'n')", (number_of(received),))
    return copy(batch)


def broker_has_member(broker: PostgresBroker, member: str) -> bool:
    with broker._link.use() as connection:
        return bool(
            connection.execute("SELECT 1 FROM broker.leases WHERE owner = %s HAVING count(*) = 2", (member,)).fetchone()
        )
