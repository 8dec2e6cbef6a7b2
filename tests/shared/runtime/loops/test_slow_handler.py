"""Slow handlers: the loop continues to poll, keeps its partitions and loses nothing."""

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
from tests.shared.runtime.loop_harness import (
    PARTITIONS,
    append,
    committed_count,
    number_of,
    open_broker,
    output_numbers,
    output_of,
    raw,
    run_in_thread,
)
from tests.waiting import DEADLINE_S, wait_until


class BlockingHandler:
    """A handler that waits until it is released."""

    def __init__(self) -> None:
        self.started, self.released = threading.Event(), threading.Event()
        self.handled: list[int] = []

    def handle(self, batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        self.started.set()
        self.released.wait(DEADLINE_S)
        self.handled += [number_of(received) for received in batch]
        return [output_of(received) for received in batch]


def loop_of(broker: PostgresBroker, slot: str = "0", **parts: Any) -> ConsumerLoop:
    arguments: dict[str, Any] = {"reads": [RAW], "metrics": Metrics(), **parts}
    return ConsumerLoop(broker, service="cleaner", slot=slot, **arguments)


def wait_for_ticks(loop: ConsumerLoop, times: int) -> None:
    """Wait until the loop has ticked that often."""
    for _ in range(times):
        before = loop.ticked_at
        wait_until(lambda before=before: loop.ticked_at != before)  # type: ignore[misc]


def test_a_loop_ticks_and_keeps_its_partitions_while_its_handler_works(broker: PostgresBroker) -> None:
    handler = BlockingHandler()
    append(broker, [raw(number) for number in range(5)])
    loop = loop_of(broker, handler=InThread(handler.handle))

    with run_in_thread(loop):
        assert handler.started.wait(DEADLINE_S)
        wait_for_ticks(loop, 5)
        assert (loop.assigned, committed_count(broker)) == (PARTITIONS, 0)
        handler.released.set()
        wait_until(lambda: committed_count(broker) == 5)

    assert handler.handled == output_numbers(broker) == list(range(5))


def test_records_appended_meanwhile_wait_and_are_handled_once_in_order(broker: PostgresBroker) -> None:
    handler = BlockingHandler()
    append(broker, [raw(0)])
    loop = loop_of(broker, handler=InThread(handler.handle))

    with run_in_thread(loop):
        assert handler.started.wait(DEADLINE_S)
        append(broker, [raw(number) for number in range(1, 50)])
        wait_for_ticks(loop, 3)
        handler.released.set()
        wait_until(lambda: committed_count(broker) == 50)

    assert handler.handled == output_numbers(broker) == list(range(50))


def test_another_member_gets_its_share_while_a_handler_works_and_no_output_is_duplicated(
    broker: PostgresBroker, url: str
) -> None:
    handler = BlockingHandler()
    append(broker, [raw(number, key) for number in range(8) for key in "abcdefgh"])
    first = loop_of(broker, handler=InThread(handler.handle))

    with run_in_thread(first), closing(open_broker(url)) as another:
        assert handler.started.wait(DEADLINE_S)
        second = loop_of(another, "1", handler=InThread(lambda batch: [output_of(received) for received in batch]))
        with run_in_thread(second):
            wait_until(lambda: (first.assigned, second.assigned) == (1, 1))
            handler.released.set()
            wait_until(lambda: committed_count(broker) == 64)

    assert sorted(output_numbers(broker)) == sorted(list(range(8)) * 8)


def test_orders_given_meanwhile_are_obeyed_after_the_unit(broker: PostgresBroker) -> None:
    handler, mailbox = BlockingHandler(), ControlMailbox(Orders())
    append(broker, [raw(0)])
    loop = loop_of(broker, handler=InThread(handler.handle), mailbox=mailbox)

    with run_in_thread(loop):
        assert handler.started.wait(DEADLINE_S)
        mailbox.set_orders(Orders({RAW: Order(RAW, "paused", 7)}), time.monotonic() + DEADLINE_S)
        append(broker, [raw(1)])
        wait_for_ticks(loop, 3)
        handler.released.set()
        wait_until(lambda: loop.state == "paused")
        wait_for_ticks(loop, 3)

    assert (handler.handled, committed_count(broker)) == ([0], 1)


def test_a_stopping_loop_does_not_wait_for_its_handler_and_commits_nothing(broker: PostgresBroker) -> None:
    handler = BlockingHandler()
    append(broker, [raw(0)])
    loop = loop_of(broker, handler=InThread(handler.handle))

    with run_in_thread(loop) as thread:
        assert handler.started.wait(DEADLINE_S)
        loop.stop()
        thread.join()

    assert thread.error is None
    assert committed_count(broker) == 0
    handler.released.set()


def test_an_error_in_the_worker_thread_is_handled_like_any_other(broker: PostgresBroker) -> None:
    tries = []

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        tries.append(len(batch))
        if len(tries) == 1:
            raise TransientError("the facts are unavailable")
        return [output_of(received) for received in batch]

    append(broker, [raw(0), raw(1)])
    with run_in_thread(loop_of(broker, handler=InThread(handle))):
        wait_until(lambda: committed_count(broker) == 2)

    assert output_numbers(broker) == [0, 1]


def test_all_calls_are_made_by_one_worker_thread() -> None:
    worker = WorkerThread("worker")

    names = {worker.call(threading.get_ident, lambda _: None) for _ in range(5)}

    assert len(names) == 1
    assert names != {threading.get_ident()}
    worker.close()
