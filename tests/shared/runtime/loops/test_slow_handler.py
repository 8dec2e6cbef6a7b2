"""Handlers that take long: the loop polls on, keeps its share, and loses nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.errors import TransientError
from shared.ops.orders import Order, Orders
from shared.records import DecodedRecord
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InThread
from shared.runtime.loops.worker_thread import WorkerThread
from shared.runtime.metrics import Metrics
from shared.topics import RAW
from tests.shared.runtime.stage import PARTITIONS, advanced, append, broker_on, number_of, numbers, out, raw, running
from tests.waiting import DEADLINE_S, wait_until


class Gate:
    """A handler that is in the middle of its work until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.handled: list[int] = []

    def handle(self, batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        self.entered.set()
        self.opened.wait(DEADLINE_S)
        self.handled += [number_of(received) for received in batch]
        return [out(received) for received in batch]


def loop_of(broker: PostgresBroker, slot: str = "0", **parts: Any) -> ConsumerLoop:
    given: dict[str, Any] = {"reads": [RAW], "metrics": Metrics(), **parts}
    return ConsumerLoop(broker, service="cleaner", slot=slot, **given)


def ticks(loop: ConsumerLoop, times: int) -> None:
    """Wait until the loop has got on so many times."""
    for _ in range(times):
        seen = loop.ticked_at
        wait_until(lambda seen=seen: loop.ticked_at != seen)  # type: ignore[misc]


def test_a_loop_ticks_and_keeps_its_partitions_while_its_handler_works(broker: PostgresBroker) -> None:
    gate = Gate()
    append(broker, [raw(number) for number in range(5)])
    loop = loop_of(broker, handler=InThread(gate.handle))

    with running(loop):
        assert gate.entered.wait(DEADLINE_S)
        ticks(loop, 5)
        assert (loop.assigned, advanced(broker)) == (PARTITIONS, 0)
        gate.opened.set()
        wait_until(lambda: advanced(broker) == 5)

    assert gate.handled == numbers(broker) == list(range(5))


def test_records_appended_meanwhile_wait_and_are_handled_once_in_order(broker: PostgresBroker) -> None:
    gate = Gate()
    append(broker, [raw(0)])
    loop = loop_of(broker, handler=InThread(gate.handle))

    with running(loop):
        assert gate.entered.wait(DEADLINE_S)
        append(broker, [raw(number) for number in range(1, 50)])
        ticks(loop, 3)
        gate.opened.set()
        wait_until(lambda: advanced(broker) == 50)

    assert gate.handled == numbers(broker) == list(range(50))


def test_another_member_gets_its_share_while_a_handler_works_and_no_output_is_duplicated(
    broker: PostgresBroker, url: str
) -> None:
    gate = Gate()
    append(broker, [raw(number, key) for number in range(8) for key in "abcdefgh"])
    first = loop_of(broker, handler=InThread(gate.handle))

    with running(first), closing(broker_on(url)) as another:
        assert gate.entered.wait(DEADLINE_S)
        second = loop_of(another, "1", handler=InThread(lambda batch: [out(received) for received in batch]))
        with running(second):
            wait_until(lambda: (first.assigned, second.assigned) == (1, 1))
            gate.opened.set()
            wait_until(lambda: advanced(broker) == 64)

    assert sorted(numbers(broker)) == sorted(list(range(8)) * 8)


def test_orders_given_meanwhile_are_obeyed_after_the_unit(broker: PostgresBroker) -> None:
    gate, steering = Gate(), ControlMailbox(Orders())
    append(broker, [raw(0)])
    loop = loop_of(broker, handler=InThread(gate.handle), steering=steering)

    with running(loop):
        assert gate.entered.wait(DEADLINE_S)
        steering.set_orders(Orders({RAW: Order(RAW, "paused", 7)}), time.monotonic() + DEADLINE_S)
        append(broker, [raw(1)])
        ticks(loop, 3)
        gate.opened.set()
        wait_until(lambda: loop.state == "paused")
        ticks(loop, 3)

    assert (gate.handled, advanced(broker)) == ([0], 1)


def test_a_stopping_loop_does_not_wait_for_its_handler_and_commits_nothing(broker: PostgresBroker) -> None:
    gate = Gate()
    append(broker, [raw(0)])
    loop = loop_of(broker, handler=InThread(gate.handle))

    with running(loop) as run:
        assert gate.entered.wait(DEADLINE_S)
        loop.stop()
        run.join()

    assert run.died_of is None
    assert advanced(broker) == 0
    gate.opened.set()


def test_an_error_in_the_worker_thread_is_handled_like_any_other(broker: PostgresBroker) -> None:
    tries = []

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        tries.append(len(batch))
        if len(tries) == 1:
            raise TransientError("the facts are away")
        return [out(received) for received in batch]

    append(broker, [raw(0), raw(1)])
    with running(loop_of(broker, handler=InThread(handle))):
        wait_until(lambda: advanced(broker) == 2)

    assert numbers(broker) == [0, 1]


def test_all_calls_are_made_by_one_worker_thread() -> None:
    worker = WorkerThread("worker")

    names = {worker.call(threading.get_ident, lambda _: None) for _ in range(5)}

    assert len(names) == 1
    assert names != {threading.get_ident()}
    worker.close()
