"""A database that is read-only for a while, as after a failover or when its disk is full, on both brokers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from shared.broker.contract import NewRecord
from shared.database.connection import DbConnection
from shared.records import DecodedRecord
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InTransaction
from shared.runtime.metrics import Metrics
from tests.contract.conftest import LONG_LEASE_S, Harness
from tests.contract.database import read_only
from tests.contract.records import write
from tests.contract.replica import READS, SERVICE, records
from tests.shared.runtime.loop_harness import run_in_thread
from tests.waiting import DEADLINE_S, wait_until

Connection = psycopg.Connection[Any]
pytestmark = pytest.mark.slow
COUNT = 24
BATCH = 4
REPLICAS = 2
# Long enough for the largest delay between two attempts.
PHASE_S = 4.0


class GatedInsert:
    """A handler that stores the ids of its records. In its first batch it waits until the gate is open."""

    def __init__(self) -> None:
        self.started, self.gate = threading.Event(), threading.Event()

    def handle(self, batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        self.started.set()
        self.gate.wait(DEADLINE_S)
        for received in batch:
            connection.execute("INSERT INTO handled VALUES (%s)", (received.event_id,))
        return []


@pytest.fixture
def admin(harness: Harness) -> Iterator[Connection]:
    with psycopg.connect(harness.conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE handled (id uuid PRIMARY KEY)")
        yield connection
        connection.execute("DROP TABLE handled")


@pytest.mark.parametrize("lease_s", [LONG_LEASE_S])
def test_every_record_is_handled_once_and_none_is_a_dead_letter(harness: Harness, admin: Connection) -> None:
    """A dead letter would end the loop, because its topic does not exist here."""
    handler = GatedInsert()
    loops = [
        ConsumerLoop(
            harness.new_broker(), service=SERVICE, slot=str(slot), reads=[READS], metrics=Metrics(),
            handler=InTransaction(handler.handle), max_records=BATCH,
        )
        for slot in range(REPLICAS)
    ]  # fmt: skip
    write(harness.broker, records(range(COUNT)))
    with ExitStack() as stack:
        threads = [stack.enter_context(run_in_thread(loop)) for loop in loops]
        assert handler.started.wait(DEADLINE_S)
        with read_only(admin):
            handler.gate.set()
            phase_ends_s = time.monotonic() + PHASE_S
            wait_until(lambda: any(loop.state == "backing off" for loop in loops) and time.monotonic() > phase_ends_s)
        wait_until(lambda: admin.execute("SELECT FROM handled").rowcount == COUNT)
        wait_until(lambda: all(loop.state == "running" for loop in loops))

        assert [thread.error for thread in threads] == [None] * REPLICAS
