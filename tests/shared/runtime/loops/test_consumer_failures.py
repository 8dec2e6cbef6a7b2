"""Failing records and transient errors in the consumer loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg

from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import DbConnection
from shared.errors import ConfigError, InvalidEvent, TransientError
from shared.records import DecodedRecord
from shared.runtime.loops.backoff import LOOP_BACKOFF
from shared.runtime.loops.handler import InTransaction, InUnit
from shared.runtime.metrics import Metrics
from shared.topics import RAW
from tests.shared.runtime.loop_harness import (
    append,
    committed_count,
    contents,
    number_of,
    output_numbers,
    raw,
    run_in_thread,
)
from tests.shared.runtime.loops.consumer_loops import copy, loop_of, refusing
from tests.waiting import wait_until


def test_poison_records_are_isolated_and_the_others_are_handled_in_order(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(50)])

    with run_in_thread(loop_of(broker, handler=InUnit(refusing(7, 31)))):
        wait_until(lambda: committed_count(broker) == 50)

    assert output_numbers(broker) == [number for number in range(50) if number not in {7, 31}]
    assert len(contents(broker, "cleaner.dlq")) == 2


def test_a_dead_letter_holds_key_value_headers_and_cause(broker: PostgresBroker) -> None:
    append(broker, [raw(0), raw(1)])
    origin = contents(broker, RAW)[1]

    with run_in_thread(loop_of(broker, handler=InUnit(refusing(1)))):
        wait_until(lambda: committed_count(broker) == 2)

    (letter,) = contents(broker, "cleaner.dlq")
    assert (letter.key, letter.value) == (origin.key, origin.value)
    assert dict(letter.headers) == {
        **origin.headers,
        "dlq.original-topic": RAW.encode(),
        "dlq.original-partition": str(origin.partition).encode(),
        "dlq.original-offset": str(origin.offset).encode(),
        "dlq.original-timestamp": str(origin.timestamp_ms).encode(),
        "dlq.original-group": b"cleaner",
        "dlq.stage": b"handle",
        "dlq.exception-class": b"InvalidEvent",
        "dlq.exception-message": b"expected another number than 1?",
        "dlq.attempts": b"1",
        "dlq.first-failed-at": letter.headers["dlq.first-failed-at"],
        "dlq.redrive-count": b"00",
        "dlq.stack-digest": letter.headers["dlq.stack-digest"],
        "dlq.stack-frame": letter.headers["dlq.stack-frame"],
    }
    assert UUID(letter.headers["event_id"].decode())


def test_a_record_that_does_not_decode_is_a_dead_letter(broker: PostgresBroker) -> None:
    append(broker, [raw(0), NewRecord(RAW, b"k", b"no JSON", raw(1).headers), NewRecord(RAW, b"k", b"x", {}), raw(2)])

    with run_in_thread(loop_of(broker, handler=InUnit(copy))):
        wait_until(lambda: committed_count(broker) >= 4)

    assert sorted(output_numbers(broker)) == [0, 2]
    assert {letter.value for letter in contents(broker, "cleaner.dlq")} == {b"no JSON", b"x"}


def test_a_dead_letter_of_the_own_service_that_fails_makes_no_new_one(broker: PostgresBroker) -> None:
    append(broker, [NewRecord("cleaner.dlq", b"k", b"v", {}), NewRecord("loader.dlq", b"k", b"v", {})])

    def refuse(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        raise InvalidEvent("invalid again")

    with run_in_thread(loop_of(broker, handler=InUnit(refuse), reads=["cleaner.dlq", "loader.dlq"])):
        wait_until(lambda: sum(broker.committed("cleaner", ["cleaner.dlq", "loader.dlq"]).values()) == 3)

    assert len(contents(broker, "cleaner.dlq")) == 2


def test_a_value_beyond_the_databases_limits_is_a_dead_letter_and_no_outage(
    broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]
) -> None:
    append(broker, [raw(number) for number in range(2)])

    def handle(batch: Sequence[DecodedRecord], connection: DbConnection) -> list[NewRecord]:
        for received in batch:  # random text, which the index cannot compress below its 2,704 bytes
            connection.execute(
                "INSERT INTO rows SELECT %s, string_agg(md5(random()::text), '') FROM generate_series(1, %s)",
                (number_of(received), 1 + 400 * number_of(received)),
            )
        return copy(batch)

    with run_in_thread(loop_of(broker, handler=InTransaction(handle))):
        wait_until(lambda: committed_count(broker) == 2)

    assert [letter.headers["dlq.exception-class"] for letter in contents(broker, "cleaner.dlq")] == [
        b"ProgramLimitExceeded"
    ]


def test_a_record_that_fails_by_chance_is_tried_again_in_place(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(4)])
    failures = [1, 1, 1]

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        if failures and any(number_of(received) == 2 for received in batch):
            failures.pop()
            raise RuntimeError("sporadic")
        return copy(batch)

    with run_in_thread(loop_of(broker, handler=InUnit(handle))):
        wait_until(lambda: committed_count(broker) == 4)

    assert (output_numbers(broker), contents(broker, "cleaner.dlq")) == ([0, 1, 2, 3], [])


def test_a_dead_letter_says_how_often_its_record_was_tried(broker: PostgresBroker) -> None:
    append(broker, [raw(0), raw(1)])

    with run_in_thread(loop_of(broker, handler=InUnit(refusing(1, error=RuntimeError)))):
        wait_until(lambda: committed_count(broker) == 2)

    assert [letter.headers["dlq.attempts"] for letter in contents(broker, "cleaner.dlq")] == [b"3"]


def test_a_wrong_setting_ends_the_loop_and_makes_no_dead_letters(broker: PostgresBroker) -> None:
    append(broker, [raw(0)])

    with run_in_thread(loop_of(broker, handler=InUnit(refusing(0, error=ConfigError)))) as thread:
        thread.join()

    assert isinstance(thread.error, ConfigError)
    assert contents(broker, "cleaner.dlq") == []


def test_a_transient_error_advances_nothing_and_then_all_records_are_handled(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(5)])
    source_is_down = threading.Event()
    source_is_down.set()
    tries: list[float] = []

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        tries.append(time.monotonic())
        if source_is_down.is_set():
            raise TransientError("the source is unavailable")
        return copy(batch)

    with run_in_thread(loop_of(broker, handler=InUnit(handle))) as thread:
        wait_until(lambda: len(tries) >= 4)
        assert thread.loop.state == "backing off"
        assert committed_count(broker) == 0
        source_is_down.clear()
        wait_until(lambda: committed_count(broker) == 5)

    assert output_numbers(broker) == [0, 1, 2, 3, 4]
    assert contents(broker, "cleaner.dlq") == []
    assert tries[3] - tries[2] >= LOOP_BACKOFF.delay_s(3) / 2  # the third delay with the maximal jitter


def test_a_loop_that_has_never_reached_its_broker_backs_off() -> None:
    metrics = Metrics()
    retries = metrics.retries_total.labels(operation="cleaner", reason="TransientError")
    unreachable = PostgresBroker("host=/nowhere dbname=none")

    started_at_s = time.monotonic()
    with run_in_thread(loop_of(unreachable, handler=InUnit(copy), metrics=metrics)):
        wait_until(lambda: retries._value.get() >= 4)

    assert time.monotonic() - started_at_s > 0.3  # at least 0.05 + 0.1 + 0.2 s
