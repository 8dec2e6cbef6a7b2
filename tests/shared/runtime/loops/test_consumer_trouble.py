"""Trouble of the database and the machine in the consumer loop: nothing becomes a dead letter, and batches shrink."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import DbConnection, Timeouts
from shared.records import DecodedRecord
from shared.runtime.loops.handler import Handler, InTransaction, InUnit
from shared.topics import RAW, topic_specs
from tests.shared.runtime.loop_harness import (
    LEASE_S,
    PARTITIONS,
    append,
    committed_count,
    contents,
    number_of,
    output_numbers,
    raw,
    run_in_thread,
)
from tests.shared.runtime.loops.consumer_loops import copy, insert, loop_of
from tests.waiting import wait_until

COUNT = 40
NUMBERS = range(10, 10 + COUNT)  # the table refuses 3


@contextmanager
def broker_with(url: str, **limits: float) -> Iterator[PostgresBroker]:
    broker = PostgresBroker(url, Timeouts(lease_s=LEASE_S, renew_s=0.2, **limits))
    broker.ensure_topics(topic_specs(PARTITIONS))
    yield broker
    broker.close()


def run_to_the_end(broker: PostgresBroker, handler: Handler) -> None:
    append(broker, [raw(number) for number in NUMBERS])
    with run_in_thread(loop_of(broker, handler=handler)) as thread:
        wait_until(lambda: committed_count(broker) == COUNT or thread.error)
    assert thread.error is None
    assert contents(broker, "cleaner.dlq") == []
    assert output_numbers(broker) == list(NUMBERS)


def slower_than(sizes: list[int], most: int, statement: str) -> InTransaction:
    """A handler whose statement is executed for batches of more than `most` records."""

    def handle(batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        sizes.append(len(batch))
        if len(batch) > most:
            connection.execute(statement)
        return insert(batch, connection)

    return InTransaction(handle)


@pytest.mark.parametrize("most", [1, 7])
def test_batches_shrink_until_a_statement_is_within_its_limit(
    url: str, rows: psycopg.Connection[Any], most: int
) -> None:
    sizes: list[int] = []
    with broker_with(url, answer_s=2.0) as broker:
        run_to_the_end(broker, slower_than(sizes, most, "SELECT pg_sleep(600)"))

    assert sizes[0] > most >= sizes[-1]
    assert rows.execute("SELECT count(*) FROM rows").fetchone() == (COUNT,)


def test_batches_shrink_until_a_unit_is_within_its_limit(url: str, rows: psycopg.Connection[Any]) -> None:
    """Each statement is short, but there are too many of them."""
    sizes: list[int] = []
    statement = "SELECT pg_sleep(0.05)"

    def handle(batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        sizes.append(len(batch))
        while len(batch) > 5:  # for as long as the unit may last
            connection.execute(statement)
        return insert(batch, connection)

    with broker_with(url, unit_s=3.0) as broker:
        run_to_the_end(broker, InTransaction(handle))

    assert sizes[0] > 5 >= sizes[-1]
    assert rows.execute("SELECT count(*) FROM rows").fetchone() == (COUNT,)


def test_a_migration_beside_a_running_loop_causes_no_dead_letter(
    broker: PostgresBroker, rows: psycopg.Connection[Any]
) -> None:
    batches = 0

    def handle(batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        nonlocal batches
        batches += 1
        if batches == 2:
            rows.execute("ALTER TABLE columns ALTER n TYPE bigint")
        for _ in range(4):  # prepares the statement
            connection.execute("SELECT * FROM columns")
        return insert(batch, connection)

    rows.execute("CREATE TABLE columns (n integer)")
    try:
        append(broker, [raw(number) for number in NUMBERS])
        with run_in_thread(loop_of(broker, handler=InTransaction(handle), max_records=COUNT // 2)) as thread:
            wait_until(lambda: committed_count(broker) == COUNT or thread.error)
    finally:
        rows.execute("DROP TABLE columns")

    assert batches == 3  # the second one failed once
    assert thread.error is None
    assert contents(broker, "cleaner.dlq") == []


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOSPC, "No space left on device")])
def test_trouble_of_the_machine_causes_no_dead_letter(broker: PostgresBroker, error: Exception) -> None:
    failures = 3

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        nonlocal failures
        if failures:
            failures -= 1
            raise error
        return copy(batch)

    run_to_the_end(broker, InUnit(handle))

    assert failures == 0


def test_an_error_of_the_system_about_one_record_is_its_fault(broker: PostgresBroker) -> None:
    append(broker, [raw(0), raw(1)])

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        if any(number_of(received) == 1 for received in batch):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return copy(batch)

    with run_in_thread(loop_of(broker, handler=InUnit(handle))):
        wait_until(lambda: committed_count(broker) == 2)

    assert [each.headers["dlq.exception-class"] for each in contents(broker, "cleaner.dlq")] == [b"FileNotFoundError"]
    assert len(contents(broker, RAW)) == 2
