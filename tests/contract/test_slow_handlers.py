"""A handler that takes longer than the lease of a member: its replica stays in the group on every broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from shared.broker.contract import Broker, NewRecord
from shared.records import DecodedRecord
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InThread
from shared.runtime.metrics import Metrics
from tests.contract.conftest import Harness
from tests.contract.records import until, wait_for_records, write
from tests.contract.replica import READS, SERVICE, WRITES, copying, records
from tests.shared.runtime.loop_harness import run_in_thread
from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.slow
COUNT = 24


class BlockingHandler:
    """A handler that waits in its first batch until it is released."""

    def __init__(self) -> None:
        self.started, self.released = threading.Event(), threading.Event()
        self.handled: list[int] = []
        self._copy = copying(self.handled)

    def handle(self, batch: Sequence[DecodedRecord]) -> Sequence[NewRecord]:
        self.started.set()
        self.released.wait(DEADLINE_S)
        return self._copy(batch)


def loop_of(broker: Broker, slot: str, handler: BlockingHandler) -> ConsumerLoop:
    return ConsumerLoop(
        broker, service=SERVICE, slot=slot, reads=[READS], metrics=Metrics(), handler=InThread(handler.handle)
    )


def fill(broker: Broker) -> None:
    write(broker, records(range(COUNT)))


def test_a_handler_may_take_longer_than_the_lease_of_its_member(harness: Harness) -> None:
    handler = BlockingHandler()
    fill(harness.broker)
    loop = loop_of(harness.new_broker(), "a", handler)
    with run_in_thread(loop):
        assert handler.started.wait(DEADLINE_S)
        started_at_s = time.monotonic()
        until(lambda: time.monotonic() - started_at_s > 2 * harness.lease_s)
        assert loop.assigned == 4
        handler.released.set()
        outputs = wait_for_records(harness.broker, WRITES, COUNT)
        until(lambda: sum(harness.broker.committed(SERVICE, [READS]).values()) >= COUNT)

    assert sorted(int(record.value) for record in outputs) == sorted(handler.handled) == list(range(COUNT))


def test_a_group_rebalances_while_a_handler_works_and_no_output_is_duplicated(harness: Harness) -> None:
    handler, other = BlockingHandler(), BlockingHandler()
    other.released.set()
    fill(harness.broker)
    first, second = loop_of(harness.new_broker(), "a", handler), loop_of(harness.new_broker(), "b", other)
    with run_in_thread(first):
        assert handler.started.wait(DEADLINE_S)
        with run_in_thread(second):
            until(lambda: (first.assigned, second.assigned) == (2, 2))
            assert not handler.released.is_set()
            handler.released.set()
            outputs = wait_for_records(harness.broker, WRITES, COUNT)
            until(lambda: sum(harness.broker.committed(SERVICE, [READS]).values()) >= COUNT)

    assert sorted(int(record.value) for record in outputs) == list(range(COUNT))
