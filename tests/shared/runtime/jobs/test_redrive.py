"""Redrives on a real log while the loop of the service is running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg
import pytest

from shared.broker.contract import NewRecord, Record
from shared.broker.postgres.broker import PostgresBroker
from shared.errors import InvalidEvent
from shared.ops.dead_letter_choice import DeadLetterFilter
from shared.ops.dead_letters import letter_of
from shared.ops.operations import Operation
from shared.ops.tables import dead_letters as dead_letters_table
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables import operations as operations_table
from shared.records import DecodedRecord
from shared.runtime.dead_letters.breaker import MAX_FAILURES
from shared.runtime.dead_letters.index import DeadLetterIndex
from shared.runtime.dead_letters.settlement import pin_selection, selection_of
from shared.runtime.jobs.redrive import redrive_starter
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InUnit
from shared.runtime.metrics import Metrics
from shared.topics import RAW
from tests.shared.runtime.loop_harness import (
    append,
    contents,
    number_of,
    open_broker,
    output_numbers,
    output_of,
    raw,
    run_in_thread,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
Rows = psycopg.Connection[Any]
DEAD_LETTERS, RETRY = "cleaner.dlq", "cleaner.retry"


@pytest.fixture
def rows(url: str) -> Iterator[Rows]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.operations, ops.dead_letters_settled")
        yield connection


@pytest.fixture
def broker(url: str) -> Iterator[PostgresBroker]:
    with closing(open_broker(url)) as broker:
        yield broker


class Cleaner:
    """A service whose handler refuses the numbers in `bad`."""

    def __init__(self, url: str, bad: set[int]) -> None:
        self.bad = bad
        self.metrics = Metrics()
        self.broker = open_broker(url)
        self.loop = ConsumerLoop(
            self.broker,
            service="cleaner",
            slot="0",
            reads=[RAW, RETRY],
            metrics=self.metrics,
            handler=InUnit(self._handle),
        )

    def _handle(self, batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        for received in batch:
            if number_of(received) in self.bad:
                raise InvalidEvent(f"expected another number than {number_of(received)}")
        return [output_of(received) for received in batch]

    def redriven(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("headrace_redriven_total", {"outcome": outcome}) or 0


def redrive(url: str, broker: PostgresBroker, rows: Rows, metrics: Metrics, *, force: bool = False) -> Operation:
    """Redrive all open letters like a replica, until the job has ended."""
    index = DeadLetterIndex("cleaner")
    index.refresh(broker)
    selection = pin_selection(rows, "cleaner", index, selection_of(index, None, DeadLetterFilter(), force=force))
    selection.require_selected()
    operations_table.create(rows, "cleaner", "redrive", selection.selection.as_json(), "alice", "r")
    operation = jobs_table.claim(rows, "cleaner", "w", ["redrive"])
    assert operation is not None
    worker = redrive_starter(url, lambda: open_broker(url), metrics)(operation, "w", 0)
    wait_until(lambda: worker.status() is not None)
    ended = operations_table.get(rows, operation.id)
    assert ended is not None
    return ended


def size_of(record: Record) -> int:
    return sum(len(name) + len(value) for name, value in record.headers.items())


def test_ten_redrives_of_the_same_record_keep_the_size_of_its_headers(
    url: str, broker: PostgresBroker, rows: Rows
) -> None:
    cleaner = Cleaner(url, {0})
    append(broker, [raw(0)])
    with run_in_thread(cleaner.loop):
        wait_until(lambda: len(contents(broker, DEAD_LETTERS)) == 1)
        for redrives in range(10):
            assert redrive(url, broker, rows, cleaner.metrics, force=True).state == "succeeded"
            wait_until(lambda: len(contents(broker, DEAD_LETTERS)) == redrives + 2)  # noqa: B023  # called at once
    cleaner.broker.close()

    letters, sent = contents(broker, DEAD_LETTERS), contents(broker, RETRY)
    assert [letter_of(letter).redrives for letter in letters] == list(range(11))
    assert len({size_of(record) for record in [*letters, *sent]}) == 1
    assert {letter_of(letter).origin for letter in letters} == {letter_of(letters[0]).origin}
    assert {letter.value for letter in letters} == {raw(0).value}


def test_a_fixed_record_is_handled_and_one_that_fails_again_becomes_a_new_letter(
    url: str, broker: PostgresBroker, rows: Rows
) -> None:
    cleaner = Cleaner(url, {1, 2})
    append(broker, [raw(number) for number in range(4)])
    with run_in_thread(cleaner.loop):
        wait_until(lambda: len(contents(broker, DEAD_LETTERS)) == 2)
        cleaner.bad = {2}
        redrive(url, broker, rows, cleaner.metrics)
        wait_until(lambda: len(contents(broker, DEAD_LETTERS)) == 3)
        wait_until(lambda: cleaner.redriven("failed") == 1)
    cleaner.broker.close()

    assert sorted(output_numbers(broker)) == [0, 1, 3]
    assert dead_letters_table.states(rows, "cleaner") == {(0, 0): "redriven", (0, 1): "redriven"}
    assert (cleaner.redriven("sent"), cleaner.redriven("handled")) == (2, 1)


def test_records_that_fail_again_never_trip_the_breaker(url: str, broker: PostgresBroker, rows: Rows) -> None:
    count = 2 * MAX_FAILURES
    cleaner = Cleaner(url, set(range(count)))
    append(broker, [raw(number, "abcdefgh"[number % 8]) for number in range(count)])
    with run_in_thread(cleaner.loop):
        wait_until(lambda: len(contents(broker, DEAD_LETTERS)) == count)
        redrive(url, broker, rows, cleaner.metrics)
        wait_until(lambda: len(contents(broker, DEAD_LETTERS)) == 2 * count)

        assert cleaner.loop.state == "running"
    cleaner.broker.close()


def test_a_cancelled_redrive_has_settled_what_it_sent_and_the_next_one_sends_the_rest(
    url: str, broker: PostgresBroker, rows: Rows
) -> None:
    append(broker, [NewRecord(DEAD_LETTERS, b"k", str(number).encode(), {}) for number in range(600)])
    index = DeadLetterIndex("cleaner")
    index.refresh(broker)
    selection = pin_selection(rows, "cleaner", index, selection_of(index, None, DeadLetterFilter(), force=False))
    created = operations_table.create(rows, "cleaner", "redrive", selection.selection.as_json(), "alice", "r")
    operation = jobs_table.claim(rows, "cleaner", "w", ["redrive"])
    assert operation is not None

    worker = redrive_starter(url, lambda: open_broker(url), Metrics())(operation, "w", 0)
    # It stops early: no service reads the retry topic, and a redrive limits the backlog.
    wait_until(lambda: dead_letters_table.states(rows, "cleaner"))
    operations_table.apply_command(rows, operation, "cancel")
    wait_until(lambda: worker.status() is not None)

    cancelled = operations_table.get(rows, created.id)
    assert cancelled is not None
    sent = len(contents(broker, RETRY))
    assert cancelled.state == "cancelled"
    assert 0 < sent < 600
    assert (cancelled.counts["redriven"], len(dead_letters_table.states(rows, "cleaner"))) == (sent, sent)

    redrive(url, broker, rows, Metrics())
    assert [int(record.value) for record in contents(broker, RETRY)] == list(range(600))
