"""Units of the consumer loop: outputs, rows and positions commit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import DbConnection
from shared.errors import TransientError
from shared.records import DecodedRecord
from shared.runtime.loops.handler import InTransaction, InUnit
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN, RAW
from tests.shared.runtime.loop_harness import (
    append,
    committed_count,
    contents,
    number_of,
    open_broker,
    output_numbers,
    raw,
    run_in_thread,
)
from tests.shared.runtime.loops.consumer_loops import copy, insert, loop_of, refusing
from tests.waiting import wait_until


def test_a_batch_has_all_available_records_up_to_the_limit(broker: PostgresBroker) -> None:
    sizes: list[int] = []

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        sizes.append(len(batch))
        return []

    append(broker, [raw(number) for number in range(4500)])
    with run_in_thread(loop_of(broker, handler=InUnit(handle))):
        wait_until(lambda: committed_count(broker) == 4500)
        append(broker, [raw(4500)])
        wait_until(lambda: committed_count(broker) == 4501)

    assert sizes == [2000, 2000, 500, 1]


def test_rows_and_positions_commit_together(broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]) -> None:
    append(broker, [raw(number) for number in range(3)])
    failures = [1]

    def handle(batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        outputs = insert(batch, connection)
        if failures:
            failures.pop()
            raise TransientError("after the rows")
        return outputs

    with run_in_thread(loop_of(broker, handler=InTransaction(handle))):
        wait_until(lambda: committed_count(broker) == 3)

    assert rows.execute("SELECT number FROM rows ORDER BY 1").fetchall() == [(0,), (1,), (2,)]
    assert output_numbers(broker) == [0, 1, 2]


def test_a_record_that_fails_in_the_database_does_not_affect_the_rows_of_others(
    broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]
) -> None:
    append(broker, [raw(number) for number in range(6)])  # the table refuses 3

    with run_in_thread(loop_of(broker, handler=InTransaction(insert))):
        wait_until(lambda: committed_count(broker) == 6)

    assert rows.execute("SELECT number FROM rows ORDER BY 1").fetchall() == [(0,), (1,), (2,), (4,), (5,)]
    assert [letter.headers["dlq.exception-class"] for letter in contents(broker, "cleaner.dlq")] == [b"CheckViolation"]


def test_a_session_that_the_server_ended_inside_a_unit_loses_no_rows(
    broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """The first half of a bisected batch is handled, then the connection breaks without an OperationalError."""
    append(broker, [raw(number) for number in range(8)])
    ended_pids: list[int] = []

    def handle(batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        if len(batch) == 8:
            raise ValueError("bisect me")
        if number_of(batch[0]) == 4 and not ended_pids:
            ended_pids.append(connection.info.backend_pid)
            pid = connection.info.backend_pid
            wait_until(lambda: not rows.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone())
        return insert(batch, connection) if number_of(batch[0]) != 3 else []

    with run_in_thread(loop_of(broker, handler=InTransaction(handle))):
        wait_until(lambda: committed_count(broker) == 8)

    assert len(ended_pids) == 1
    assert rows.execute("SELECT count(*) FROM rows").fetchall() == [(7,)]
    assert len(output_numbers(broker)) == 7


def test_outcomes_of_records_are_counted_after_the_commit(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(4)])
    metrics = Metrics()

    with run_in_thread(loop_of(broker, handler=InUnit(refusing(2)), metrics=metrics)):
        wait_until(lambda: committed_count(broker) == 4)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"headrace_{name}", labels)

    assert value("records_total", service="cleaner", topic=RAW, outcome="handled") == 3
    assert value("records_total", service="cleaner", topic=RAW, outcome="failed") == 1
    assert value("dead_letters_total", topic=RAW, reason="InvalidEvent") == 1
    assert value("rebalances_total") == 1
    assert len(contents(broker, CLEAN)) == 3


def test_replicas_come_and_go_and_every_record_is_handled_once(broker: PostgresBroker, url: str) -> None:
    append(broker, [raw(number, f"k{number}") for number in range(300)])
    replicas = [open_broker(url) for _ in range(3)]
    loops = [loop_of(each, handler=InUnit(copy), slot=str(slot), max_records=7) for slot, each in enumerate(replicas)]
    with run_in_thread(loops[0]), run_in_thread(loops[1]):
        with run_in_thread(loops[2]):
            wait_until(lambda: committed_count(broker) > 50)
        append(broker, [raw(number, f"k{number}") for number in range(300, 400)])
        wait_until(lambda: committed_count(broker) == 400)
    for each in replicas:
        each.close()

    assert sorted(output_numbers(broker)) == list(range(400))
