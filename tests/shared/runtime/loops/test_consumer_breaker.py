"""Partitions that the consumer loop holds back because too many of their records fail."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.records import DecodedRecord
from shared.runtime.loops.handler import InUnit
from shared.runtime.metrics import Metrics
from shared.runtime.view import LoopView
from shared.topics import RAW
from tests.shared.runtime.loop_harness import (
    append,
    committed_count,
    contents,
    open_broker,
    output_numbers,
    raw,
    run_in_thread,
    tp_of,
)
from tests.shared.runtime.loops.consumer_loops import KEYS, copy, loop_of, refusing
from tests.waiting import wait_until


def test_a_partition_whose_records_show_a_bug_is_held_back_and_the_others_continue(broker: PostgresBroker) -> None:
    append(broker, [raw(number, key) for number in range(100) for key in KEYS])
    metrics = Metrics()
    loop = loop_of(broker, handler=InUnit(refusing(*range(30, 90), error=RuntimeError, key=KEYS[0])), metrics=metrics)
    view = LoopView(loop, broker, "0")

    with run_in_thread(loop) as thread:
        wait_until(lambda: committed_count(broker) == 100 and loop.state == "tripped")
        append(broker, [raw(100, key) for key in KEYS])
        wait_until(lambda: committed_count(broker) == 101)
        ready, reason = view.ready()
        assert thread.error is None

    held, free = (broker.committed("cleaner", [RAW])[tp_of(key)] for key in KEYS)
    assert (held, free) == (0, 101)
    assert output_numbers(broker) == list(range(101))
    assert contents(broker, "cleaner.dlq") == []
    assert not ready
    assert re.match(r"tripped: raw-events/1 is held back .*RuntimeError: expected another", reason)
    labels = {"topic": RAW, "partition": "1", "kind": "breaker"}
    assert metrics.registry.get_sample_value("headrace_tripped_partitions", labels) == 1


def test_a_partition_that_is_held_back_stays_so_while_members_come_and_go(broker: PostgresBroker, url: str) -> None:
    append(broker, [raw(number, KEYS[0]) for number in range(50)])
    tries: list[int] = []

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        tries.append(len(batch))
        raise RuntimeError("a bug")

    other, loop = open_broker(url), loop_of(broker, handler=InUnit(handle), slot="a")
    second = loop_of(other, handler=InUnit(refusing(*range(50), error=RuntimeError)), slot="b")
    with run_in_thread(loop):
        wait_until(lambda: loop.state == "tripped")
        tries.clear()
        with run_in_thread(second):  # it gets partition 1 and trips too
            wait_until(lambda: (loop.assigned, loop.state, second.state) == (1, "running", "tripped"))
        wait_until(lambda: (loop.assigned, loop.state) == (2, "tripped"))
        append(broker, [raw(0, KEYS[1])])
        wait_until(lambda: broker.committed("cleaner", [RAW])[tp_of(KEYS[1])] == 1)
    other.close()

    assert broker.committed("cleaner", [RAW])[tp_of(KEYS[0])] == 0
    assert tries == [1, 1, 1]  # the one record of the other partition
    assert len(contents(broker, "cleaner.dlq")) == 1


def test_a_partition_that_was_held_back_is_read_again_by_a_new_process(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(30)])
    broken, fixed = (
        loop_of(broker, handler=InUnit(refusing(*range(30), error=RuntimeError))),
        loop_of(broker, handler=InUnit(copy)),
    )
    with run_in_thread(broken):
        wait_until(lambda: broken.state == "tripped")

    with run_in_thread(fixed):
        wait_until(lambda: committed_count(broker) == 30)

    assert (output_numbers(broker), contents(broker, "cleaner.dlq")) == (list(range(30)), [])


def test_a_source_that_changed_its_format_does_not_fill_the_dead_letters(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(60)])
    loop = loop_of(broker, handler=InUnit(refusing(*range(60))))

    with run_in_thread(loop):
        wait_until(lambda: loop.state == "tripped")
        error = loop.trouble

    assert (committed_count(broker), contents(broker, "cleaner.dlq")) == (0, [])
    assert "`headrace resume cleaner raw-events`" in error
