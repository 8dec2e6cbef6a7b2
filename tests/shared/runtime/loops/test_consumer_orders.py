"""Orders (pause and resume) in the consumer loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg

from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.errors import TransientError
from shared.ops.orders import DesiredState, Order, Orders
from shared.records import DecodedRecord
from shared.runtime.control.mailbox import ORDERS_FRESH_S, ControlMailbox
from shared.runtime.loops.handler import InUnit
from shared.runtime.metrics import Metrics
from shared.runtime.view import LoopView
from shared.topics import RAW
from tests.shared.runtime.loop_harness import (
    append,
    committed_count,
    contents,
    output_numbers,
    raw,
    run_in_thread,
    tp_of,
)
from tests.shared.runtime.loops.consumer_loops import copy, loop_of, refusing
from tests.waiting import DEADLINE_S, wait_until


def set_order(mailbox: ControlMailbox, desired: DesiredState, seq: int, tolerate: int = 0) -> None:
    """The order stays fresh during the test, because a loop on a slow machine starts late."""
    mailbox.set_orders(Orders({RAW: Order(RAW, desired, seq, tolerate)}), time.monotonic() + DEADLINE_S)


def states(mailbox: ControlMailbox) -> tuple[int, list[str]]:
    """The number of the obeyed order, and the states of the partitions."""
    status = mailbox.status()
    return (-1, []) if status is None else (status.seq, [each.state for _, each in sorted(status.partitions.items())])


def test_a_resume_releases_a_tripped_partition(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    mailbox, metrics, fixed = ControlMailbox(), Metrics(), threading.Event()
    set_order(mailbox, "running", 1)

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        return copy(batch) if fixed.is_set() else refusing(*range(40))(batch)

    with run_in_thread(loop_of(broker, handler=InUnit(handle), mailbox=mailbox, metrics=metrics)) as thread:
        wait_until(lambda: thread.loop.state == "tripped")
        wait_until(lambda: sorted(states(mailbox)[1]) == ["running", "tripped"])
        fixed.set()
        set_order(mailbox, "running", 2)
        wait_until(lambda: committed_count(broker) == 40)
        wait_until(lambda: states(mailbox) == (2, ["running", "running"]))

    labels = {"topic": RAW, "partition": str(tp_of("k").partition), "kind": "breaker"}
    assert metrics.registry.get_sample_value("headrace_tripped_partitions", labels) == 0
    assert (output_numbers(broker), contents(broker, "cleaner.dlq")) == (list(range(40)), [])


def test_a_resume_can_tolerate_failures(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    mailbox = ControlMailbox()
    set_order(mailbox, "running", 1)

    with run_in_thread(loop_of(broker, handler=InUnit(refusing(*range(40))), mailbox=mailbox)) as thread:
        wait_until(lambda: thread.loop.state == "tripped")
        set_order(mailbox, "running", 2, tolerate=40)
        wait_until(lambda: committed_count(broker) == 40)

    assert len(contents(broker, "cleaner.dlq")) == 40


def test_the_tolerance_of_an_order_applies_after_a_start_until_the_order_is_effective(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    mailbox = ControlMailbox()
    set_order(mailbox, "running", 2, tolerate=40)

    with run_in_thread(loop_of(broker, handler=InUnit(refusing(*range(80))), mailbox=mailbox)) as thread:
        wait_until(lambda: committed_count(broker) == 40)
        set_order(mailbox, "running", 2)
        append(broker, [raw(number) for number in range(40, 80)])
        wait_until(lambda: thread.loop.state == "tripped")

    assert len(contents(broker, "cleaner.dlq")) == 40


def test_a_partition_that_is_paused_and_tripped_counts_as_paused(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    mailbox = ControlMailbox()
    set_order(mailbox, "running", 1)
    loop = loop_of(broker, handler=InUnit(refusing(*range(40))), mailbox=mailbox)

    with run_in_thread(loop):
        wait_until(lambda: loop.state == "tripped")
        set_order(mailbox, "paused", 2)
        wait_until(lambda: (loop.state, states(mailbox)) == ("paused", (2, ["paused", "paused"])))
        assert LoopView(loop, broker, "0").ready() == (True, "2 partitions")


def test_the_position_is_reported_while_paused(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(7)])
    mailbox = ControlMailbox()
    set_order(mailbox, "running", 1)

    with run_in_thread(loop_of(broker, handler=InUnit(copy), mailbox=mailbox)):
        wait_until(lambda: committed_count(broker) == 7)
        set_order(mailbox, "paused", 2)
        wait_until(lambda: states(mailbox) == (2, ["paused", "paused"]))
        status = mailbox.status()

    assert status is not None
    assert status.partitions[tp_of("k")].position == 7


def test_partitions_assigned_under_stale_orders_wait_for_fresh_ones(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(7)])
    mailbox = ControlMailbox()
    mailbox.set_orders(Orders(), time.monotonic() - ORDERS_FRESH_S)
    loop = loop_of(broker, handler=InUnit(copy), mailbox=mailbox)

    with run_in_thread(loop):
        wait_until(lambda: (loop.assigned, loop.state) == (2, "waiting for orders"))
        ready, reason = LoopView(loop, broker, "0").ready()
        assert (ready, committed_count(broker)) == (False, 0)
        assert "orders could not be read" in reason
        mailbox.set_orders(Orders(), time.monotonic() + DEADLINE_S)
        wait_until(lambda: committed_count(broker) == 7)
        mailbox.set_orders(Orders(), time.monotonic() - ORDERS_FRESH_S)  # partitions that were started continue
        append(broker, [raw(7)])
        wait_until(lambda: committed_count(broker) == 8)

    assert output_numbers(broker) == list(range(8))


def test_a_pause_is_obeyed_during_a_back_off(broker: PostgresBroker) -> None:
    append(broker, [raw(0)])
    mailbox = ControlMailbox()
    set_order(mailbox, "running", 1)

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        set_order(mailbox, "paused", 2)
        raise TransientError("unavailable")

    with run_in_thread(loop_of(broker, handler=InUnit(handle), mailbox=mailbox)):
        wait_until(lambda: states(mailbox) == (2, ["paused", "paused"]))

    assert committed_count(broker) == 0


def test_positions_have_the_number_of_the_order_they_were_advanced_under(
    broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]
) -> None:
    append(broker, [raw(0)])
    mailbox = ControlMailbox()
    set_order(mailbox, "running", 41)

    with run_in_thread(loop_of(broker, handler=InUnit(copy), mailbox=mailbox)):
        wait_until(lambda: committed_count(broker) == 1)

    assert rows.execute("SELECT ctl_seq FROM broker.positions WHERE next_off = 1").fetchall() == [(41,)]
