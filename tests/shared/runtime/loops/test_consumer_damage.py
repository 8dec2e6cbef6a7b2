"""Damaged batches in the embedded log: only their partition is held, until an operator skips them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from shared.broker.contract import Damaged
from shared.broker.postgres.broker import PostgresBroker
from shared.ops.holds import Hold
from shared.ops.orders import Orders
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.loops.handler import InTransaction, InUnit
from shared.runtime.metrics import Metrics
from shared.topics import RAW
from tests.shared.runtime.loop_harness import append, committed_count, output_numbers, raw, run_in_thread, tp_of
from tests.shared.runtime.loops.consumer_loops import KEYS, copy, insert, loop_of
from tests.waiting import DEADLINE_S, wait_until

TP = tp_of(KEYS[0])


def damage(rows: psycopg.Connection[Any], number: int, payload: str) -> None:
    """Replace the stored bytes of a batch of the first key."""
    changed = rows.execute(
        f"UPDATE broker.log SET payload = {payload} FROM broker.topics t"
        " WHERE t.id = topic_id AND t.name = %s AND p = %s AND base_off = %s",
        (RAW, TP.partition, number),
    ).rowcount
    assert changed == 1


def set_holds(mailbox: ControlMailbox, *holds: Hold) -> None:
    """As the control thread does after it stored the loop's changes."""
    mailbox.set_orders(Orders(), float("inf"), holds, mailbox.hold_changes())


@pytest.mark.parametrize(
    "payload",
    [
        r"'\x00'::bytea",
        "''::bytea",
        "overlay(payload PLACING '\\xffff'::bytea FROM 12)",
        "substr(payload, 1, octet_length(payload) - 9)",
    ],
    ids=["another format", "nothing", "changed bytes", "cut"],
)
def test_a_damaged_batch_holds_only_its_partition(
    broker: PostgresBroker, rows: psycopg.Connection[Any], payload: str
) -> None:
    for number in range(6):
        append(broker, [raw(number, key) for key in KEYS])
    damage(rows, 3, payload)
    mailbox = ControlMailbox()
    set_holds(mailbox)
    loop = loop_of(broker, handler=InUnit(copy), mailbox=mailbox)

    with run_in_thread(loop) as thread:
        wait_until(lambda: committed_count(broker) == 9 and loop.state == "tripped")
        append(broker, [raw(6, KEYS[1])])
        wait_until(lambda: committed_count(broker) == 10)
        assert thread.error is None

    (hold,) = mailbox.holds()
    assert (hold.tp, hold.kind, hold.cause["offset"], hold.cause["end"]) == (TP, "damaged", 3, 4)
    assert f"headrace topics skip {RAW} {TP.partition} 3" in hold.message


@pytest.mark.parametrize("handler", [InUnit(copy), InTransaction(insert)])
def test_an_operator_skips_the_damaged_batch_and_nothing_else(
    broker: PostgresBroker, rows: psycopg.Connection[Any], handler: Any
) -> None:
    for number in (10, 11, 12, 13, 14, 15):
        append(broker, [raw(number, KEYS[0])])
    damage(rows, 3, r"'\x00'::bytea")
    mailbox, metrics = ControlMailbox(), Metrics()
    set_holds(mailbox)
    loop = loop_of(broker, handler=handler, mailbox=mailbox, metrics=metrics)

    with run_in_thread(loop):
        wait_until(lambda: loop.state == "tripped" and mailbox.hold_changes().began)
        (hold,) = mailbox.holds()
        decided = Hold(hold.tp, hold.kind, hold.cause, hold.seq, hold.at, continue_at=4)
        set_holds(mailbox, decided)
        wait_until(lambda: committed_count(broker) == 6)
        wait_until(lambda: loop.state == "running")

    assert sorted(output_numbers(broker)) == [10, 11, 12, 14, 15]
    labels = {"service": "cleaner", "topic": RAW, "partition": str(TP.partition)}
    assert metrics.registry.get_sample_value("headrace_records_skipped_total", labels) == 1
    assert mailbox.hold_changes().ended == {(TP, "damaged")}


def test_a_skip_that_was_committed_before_a_crash_skips_nothing_more(
    broker: PostgresBroker, rows: psycopg.Connection[Any]
) -> None:
    for number in range(6):
        append(broker, [raw(number, KEYS[0])])
    mailbox, metrics = ControlMailbox(), Metrics()
    hold = Hold(TP, "damaged", {"message": "damaged", "offset": 0, "end": 1}, 0, _now(rows), continue_at=1)
    with run_in_thread(loop_of(broker, handler=InUnit(copy))):
        wait_until(lambda: committed_count(broker) == 6)
    set_holds(mailbox, hold)

    with run_in_thread(loop_of(broker, handler=InUnit(copy), mailbox=mailbox, metrics=metrics)):
        wait_until(lambda: mailbox.hold_changes().ended == {(TP, "damaged")}, deadline_s=DEADLINE_S)

    assert committed_count(broker) == 6
    labels = {"service": "cleaner", "topic": RAW, "partition": str(TP.partition)}
    assert metrics.registry.get_sample_value("headrace_records_skipped_total", labels) is None


def test_a_reader_says_where_the_damage_is(broker: PostgresBroker, rows: psycopg.Connection[Any]) -> None:
    append(broker, [raw(number, KEYS[0]) for number in range(4)])
    append(broker, [raw(number, KEYS[0]) for number in range(3)])
    damage(rows, 4, "''::bytea")
    reader = broker.reader([TP])
    reader.seek(TP, 5)

    with pytest.raises(Damaged) as caught:
        reader.poll(0, 100)
    reader.close()

    assert (caught.value.tp, caught.value.position, caught.value.end) == (TP, 5, 7)


def _now(rows: psycopg.Connection[Any]) -> Any:
    row = rows.execute("SELECT now()").fetchone()
    return row and row[0]
