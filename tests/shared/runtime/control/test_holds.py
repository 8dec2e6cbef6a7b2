"""Holds outlast the process that found their cause, and end with a resume order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from shared.broker.contract import TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.ops.orders import Orders
from shared.ops.tables import holds as holds_table
from shared.ops.tables.steering import steer
from shared.runtime.control.mailbox import ControlMailbox, HoldChanges
from shared.runtime.control.thread import ControlThread
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InUnit
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
from tests.waiting import DEADLINE_S, wait_until

Database = psycopg.Connection[Any]


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    broker = open_broker(database_url)
    yield broker
    broker.close()


@contextmanager
def run_cleaner(url: str, database: Database, broker: PostgresBroker, handler: Any) -> Iterator[ConsumerLoop]:
    """A process of the cleaner: its loop and its control thread."""
    incarnation, mailbox, stop = uuid4(), ControlMailbox(), threading.Event()
    database.execute(
        "INSERT INTO ops.replicas (service, replica, pid, admin_url, state, ready, started_at, seen_at, incarnation)"
        " VALUES ('cleaner', 'a', 1, '', 'running', true, now(), now(), %s) ON CONFLICT (service, replica)"
        " DO UPDATE SET incarnation = excluded.incarnation",
        (incarnation,),
    )
    control = ControlThread(
        url, "cleaner", "a", incarnation, mailbox, lambda _: {RAW: [TopicPartition(RAW, p) for p in range(2)]}
    )
    thread = threading.Thread(target=control.run, args=(stop,))
    thread.start()
    loop = loop_of(broker, handler=InUnit(handler), mailbox=mailbox)
    try:
        with run_in_thread(loop):
            yield loop
    finally:
        stop.set()
        thread.join(DEADLINE_S)


def kinds(database: Database) -> list[tuple[TopicPartition, str]]:
    return [(hold.tp, hold.kind) for hold in holds_table.holds(database, "cleaner")]


def test_a_partition_that_the_breaker_holds_stays_held_after_a_restart_until_a_resume(
    database_url: str, database: Database, broker: PostgresBroker
) -> None:
    append(broker, [raw(number) for number in range(40)])
    with run_cleaner(database_url, database, broker, refusing(*range(40))) as loop:
        wait_until(lambda: loop.state == "tripped")
        cause = loop.trouble
    assert kinds(database) == [(tp_of("k"), "breaker")]

    with run_cleaner(database_url, database, broker, copy) as loop:
        wait_until(lambda: loop.state == "tripped")
        assert (loop.trouble, committed_count(broker)) == (cause, 0)
        append(broker, [raw(0, KEYS[1])])
        wait_until(lambda: committed_count(broker) == 1)  # the other partition continues
        with database.transaction():
            steer(database, "cleaner", [RAW], "running", who="me", request_id="r")
        wait_until(lambda: committed_count(broker) == 41)
        wait_until(lambda: loop.state == "running")

    assert (len(output_numbers(broker)), contents(broker, "cleaner.dlq"), kinds(database)) == (41, [], [])


def test_a_hold_that_could_not_be_stored_yet_holds_in_this_process(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    mailbox = ControlMailbox()
    mailbox.set_orders(*_orders())

    with run_in_thread(loop_of(broker, handler=InUnit(refusing(*range(40))), mailbox=mailbox)) as thread:
        wait_until(lambda: thread.loop.state == "tripped")
        changes = mailbox.hold_changes()
        mailbox.set_orders(*_orders())  # read before the hold was stored
        assert [hold.tp for hold in mailbox.holds()] == [tp_of("k")]
        mailbox.set_orders(*_orders(), list(changes.began.values()), changes)
        assert [hold.tp for hold in mailbox.holds()] == [tp_of("k")]
        assert mailbox.hold_changes() == HoldChanges()


def _orders() -> tuple[Orders, float]:
    """Orders that stay fresh during the test."""
    return Orders(), time.monotonic() + DEADLINE_S
