"""Pause and resume in the consumer loop."""

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
from tests.shared.runtime.loops.consumer_loops import copy, loop_of, refusing
from tests.shared.runtime.stage import advanced, append, contents, numbers, raw, running, tp_of
from tests.waiting import DEADLINE_S, wait_until


def give(steering: ControlMailbox, desired: DesiredState, seq: int, tolerate: int = 0) -> None:
    """Fresh for as long as a test may take: a loop on a slow machine begins late."""
    steering.set_orders(Orders({RAW: Order(RAW, desired, seq, tolerate)}), time.monotonic() + DEADLINE_S)


def states(steering: ControlMailbox) -> tuple[int, list[str]]:
    """Up to which order it obeys, and what it does with its partitions."""
    standing = steering.status()
    return (
        (-1, [])
        if standing is None
        else (standing.seq, [each.state for _, each in sorted(standing.partitions.items())])
    )


def test_a_resume_releases_a_tripped_partition(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    steering, metrics, mended = ControlMailbox(), Metrics(), threading.Event()
    give(steering, "running", 1)

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        return copy(batch) if mended.is_set() else refusing(*range(40))(batch)

    with running(loop_of(broker, handler=InUnit(handle), steering=steering, metrics=metrics)) as run:
        wait_until(lambda: run.loop.state == "tripped")
        wait_until(lambda: sorted(states(steering)[1]) == ["running", "tripped"])
        mended.set()
        give(steering, "running", 2)
        wait_until(lambda: advanced(broker) == 40)
        wait_until(lambda: states(steering) == (2, ["running", "running"]))

    labels = {"topic": RAW, "partition": str(tp_of("k").partition)}
    assert metrics.registry.get_sample_value("headrace_tripped_partitions", labels) == 0
    assert (numbers(broker), contents(broker, "cleaner.dlq")) == (list(range(40)), [])


def test_a_resume_can_tolerate_failures(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    steering = ControlMailbox()
    give(steering, "running", 1)

    with running(loop_of(broker, handler=InUnit(refusing(*range(40))), steering=steering)) as run:
        wait_until(lambda: run.loop.state == "tripped")
        give(steering, "running", 2, tolerate=40)
        wait_until(lambda: advanced(broker) == 40)

    assert len(contents(broker, "cleaner.dlq")) == 40


def test_the_tolerance_of_an_order_applies_after_a_start_until_the_order_is_effective(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    steering = ControlMailbox()
    give(steering, "running", 2, tolerate=40)

    with running(loop_of(broker, handler=InUnit(refusing(*range(80))), steering=steering)) as run:
        wait_until(lambda: advanced(broker) == 40)
        give(steering, "running", 2)
        append(broker, [raw(number) for number in range(40, 80)])
        wait_until(lambda: run.loop.state == "tripped")

    assert len(contents(broker, "cleaner.dlq")) == 40


def test_a_partition_that_is_paused_and_tripped_counts_as_paused(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    steering = ControlMailbox()
    give(steering, "running", 1)
    loop = loop_of(broker, handler=InUnit(refusing(*range(40))), steering=steering)

    with running(loop):
        wait_until(lambda: loop.state == "tripped")
        give(steering, "paused", 2)
        wait_until(lambda: (loop.state, states(steering)) == ("paused", (2, ["paused", "paused"])))
        assert LoopView(loop, broker, "0").ready() == (True, "2 partitions")


def test_the_position_is_reported_while_paused(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(7)])
    steering = ControlMailbox()
    give(steering, "running", 1)

    with running(loop_of(broker, handler=InUnit(copy), steering=steering)):
        wait_until(lambda: advanced(broker) == 7)
        give(steering, "paused", 2)
        wait_until(lambda: states(steering) == (2, ["paused", "paused"]))
        standing = steering.status()

    assert standing is not None
    assert standing.partitions[tp_of("k")].position == 7


def test_partitions_assigned_under_stale_orders_wait_for_fresh_ones(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(7)])
    steering = ControlMailbox()
    steering.set_orders(Orders(), time.monotonic() - ORDERS_FRESH_S)
    loop = loop_of(broker, handler=InUnit(copy), steering=steering)

    with running(loop):
        wait_until(lambda: (loop.assigned, loop.state) == (2, "waiting for orders"))
        ready, why = LoopView(loop, broker, "0").ready()
        assert (ready, advanced(broker)) == (False, 0)
        assert "orders could not be read" in why
        steering.set_orders(Orders(), time.monotonic() + DEADLINE_S)
        wait_until(lambda: advanced(broker) == 7)
        steering.set_orders(Orders(), time.monotonic() - ORDERS_FRESH_S)  # what is begun goes on
        append(broker, [raw(7)])
        wait_until(lambda: advanced(broker) == 8)

    assert numbers(broker) == list(range(8))


def test_a_pause_is_obeyed_during_a_back_off(broker: PostgresBroker) -> None:
    append(broker, [raw(0)])
    steering = ControlMailbox()
    give(steering, "running", 1)

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        give(steering, "paused", 2)
        raise TransientError("away")

    with running(loop_of(broker, handler=InUnit(handle), steering=steering)):
        wait_until(lambda: states(steering) == (2, ["paused", "paused"]))

    assert advanced(broker) == 0


def test_positions_have_the_number_of_the_order_they_were_advanced_under(
    broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]
) -> None:
    append(broker, [raw(0)])
    steering = ControlMailbox()
    give(steering, "running", 41)

    with running(loop_of(broker, handler=InUnit(copy), steering=steering)):
        wait_until(lambda: advanced(broker) == 1)

    assert rows.execute("SELECT ctl_seq FROM broker.positions WHERE next_off = 1").fetchall() == [(41,)]
