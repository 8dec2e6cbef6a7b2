"""A handler that takes longer than a group waits for its members: on every broker its replica stays one, and obeys."""

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
from tests.contract.records import all_of, put, until
from tests.contract.replica import READS, SERVICE, WRITES, copying, records
from tests.shared.runtime.stage import running
from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.slow
COUNT = 24


class Gate:
    """A handler that is in the middle of its first batch until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.handled: list[int] = []
        self._copy = copying(self.handled)

    def handle(self, batch: Sequence[DecodedRecord]) -> Sequence[NewRecord]:
        self.entered.set()
        self.opened.wait(DEADLINE_S)
        return self._copy(batch)


def loop_of(broker: Broker, slot: str, gate: Gate) -> ConsumerLoop:
    return ConsumerLoop(
        broker, service=SERVICE, slot=slot, reads=[READS], metrics=Metrics(), handler=InThread(gate.handle)
    )


def fill(broker: Broker) -> None:
    producer = broker.producer("filler")
    put(producer, records(range(COUNT)))
    producer.close()


def test_a_handler_may_take_longer_than_the_lease_of_its_member(harness: Harness) -> None:
    gate = Gate()
    fill(harness.broker)
    loop = loop_of(harness.another(), "a", gate)
    with running(loop):
        assert gate.entered.wait(DEADLINE_S)
        began_s = time.monotonic()
        until(lambda: time.monotonic() - began_s > 2 * harness.lease_s)
        assert loop.assigned == 4
        gate.opened.set()
        found = all_of(harness.broker, WRITES, COUNT)
        until(lambda: sum(harness.broker.committed(SERVICE, [READS]).values()) >= COUNT)

    assert sorted(int(record.value) for record in found) == sorted(gate.handled) == list(range(COUNT))


def test_a_group_rebalances_while_a_handler_works_and_no_output_is_duplicated(harness: Harness) -> None:
    gate, other = Gate(), Gate()
    other.opened.set()
    fill(harness.broker)
    first, second = loop_of(harness.another(), "a", gate), loop_of(harness.another(), "b", other)
    with running(first):
        assert gate.entered.wait(DEADLINE_S)
        with running(second):
            until(lambda: (first.assigned, second.assigned) == (2, 2))
            assert not gate.opened.is_set()
            gate.opened.set()
            found = all_of(harness.broker, WRITES, COUNT)
            until(lambda: sum(harness.broker.committed(SERVICE, [READS]).values()) >= COUNT)

    assert sorted(int(record.value) for record in found) == list(range(COUNT))
