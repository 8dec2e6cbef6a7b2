"""Dead letters on both brokers: they are indexed, and a redrive sends each one once even if it is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from shared.broker.contract import Broker, NewRecord
from shared.database.connection import ReconnectingConnection
from shared.ops.dead_letter_choice import DeadLetterFilter, DeadLetterSelection
from shared.ops.dead_letters import CAUSE, DeadLetterPlace
from shared.ops.operations import Operation
from shared.ops.tables import dead_letters as dead_letters_table
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables import operations as operations_table
from shared.records import DecodedRecord
from shared.runtime.dead_letters.index import DeadLetterIndex, read_letter
from shared.runtime.jobs.job_lease import JobLease
from shared.runtime.jobs.loop import JobLoop
from shared.runtime.jobs.redrive import RedriveRun
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InUnit
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN, JOB_CURSORS, RAW, TopicSpec
from tests.contract.conftest import Harness
from tests.contract.records import read_all, until, wait_for_records, write
from tests.processes import killed_at_end, wait_for_line
from tests.shared.runtime.loop_harness import append, number_of, output_of, raw, run_in_thread

pytestmark = pytest.mark.slow
DEAD_LETTERS, RETRY = "cleaner.dlq", "cleaner.retry"
Rows = psycopg.Connection[Any]


@pytest.fixture
def broker(harness: Harness) -> Broker:
    harness.broker.ensure_topics(
        [TopicSpec(DEAD_LETTERS, 1), TopicSpec(RETRY, 1), TopicSpec(JOB_CURSORS, 1, None, compacted=True)]
    )
    return harness.broker


@pytest.fixture
def url(tmp_path: Path, harness: Harness) -> str:
    return str(json.loads((tmp_path / "broker.url").read_text())["conninfo"])


@pytest.fixture
def rows(url: str) -> Iterator[Rows]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.operations, ops.dead_letters_settled")
        yield connection


def fill(broker: Broker, count: int, cause: str = "ValueError") -> None:
    """In units of two records, so that offsets have gaps on Kafka."""
    cause_header = {CAUSE: cause.encode()}
    letters = [NewRecord(DEAD_LETTERS, b"k", str(n).encode(), cause_header) for n in range(count)]
    write(broker, *(letters[number : number + 2] for number in range(0, count, 2)))


def create_redrive(rows: Rows, index: DeadLetterIndex, cause: str | None = None) -> Operation:
    target = DeadLetterSelection(index.spans(), None, DeadLetterFilter(cause=cause)).as_json()
    return operations_table.create(rows, "cleaner", "redrive", target, "alice", "r-1")


def run_redrive(harness: Harness, url: str, rows: Rows, worker: str) -> Operation:
    """Claims the redrive that waits or has lost its worker, and runs it to its end."""
    rows.execute("UPDATE ops.operations SET lease_until = now() - interval '1 s' WHERE worker IS NOT NULL")
    operation = jobs_table.claim(rows, "cleaner", worker, ["redrive"])
    assert operation is not None
    broker, link = harness.new_broker(), ReconnectingConnection(url, "redrive", autocommit=True)
    job = RedriveRun(operation, broker, link, Metrics()).job(unit_records=3)
    JobLoop(broker, JobLease(url, operation.id, worker), job).run()
    link.drop()
    ended = operations_table.get(rows, operation.id)
    assert ended is not None
    return ended


def load_index(broker: Broker) -> DeadLetterIndex:
    index = DeadLetterIndex("cleaner")
    index.refresh(broker)
    return index


def test_dead_letters_are_indexed_and_read_by_their_place(broker: Broker) -> None:
    fill(broker, 6)
    index = load_index(broker)
    fill(broker, 2, "KeyError")
    index.refresh(broker)

    letters = index.letters()

    assert [letter.cause for letter in letters] == ["KeyError"] * 2 + ["ValueError"] * 6
    assert [read_letter(broker, "cleaner", letter.place).value for letter in reversed(letters)] == [  # type: ignore[union-attr]
        str(n).encode() for n in (*range(6), 0, 1)
    ]
    assert read_letter(broker, "cleaner", DeadLetterPlace(0, letters[0].place.offset + 1)) is None


def test_a_redrive_sends_the_selected_open_letters_and_settles_them(
    harness: Harness, broker: Broker, url: str, rows: Rows
) -> None:
    fill(broker, 6)
    fill(broker, 2, "KeyError")
    index = load_index(broker)
    first = index.letters()[-1].place
    dead_letters_table.settle(rows, "cleaner", [first], "discarded", "another", "alice", "no use")
    create_redrive(rows, index, "ValueError")

    ended = run_redrive(harness, url, rows, "a")

    sent = wait_for_records(broker, RETRY, 5)
    assert [record.value for record in sent] == [str(n).encode() for n in range(1, 6)]
    assert {record.headers["dlq.redrive-count"] for record in sent} == {b"01"}
    states = dead_letters_table.states(rows, "cleaner")
    assert sorted(states.values()) == ["discarded"] + ["redriven"] * 5
    assert (ended.state, ended.progress, ended.counts["redriven"]) == ("succeeded", 1.0, 5)


@pytest.mark.parametrize("units", [1, 4])
def test_a_redrive_killed_between_commit_and_settlement_sends_every_letter_once(
    harness: Harness, broker: Broker, url: str, rows: Rows, tmp_path: Path, units: int
) -> None:
    fill(broker, 6)
    operation = create_redrive(rows, load_index(broker))
    assert jobs_table.claim(rows, "cleaner", "killed", ["redrive"]) is not None
    command = [sys.executable, "-m", "tests.shared.runtime.jobs.redriver", str(tmp_path / "broker.url"), operation.id]
    with killed_at_end(
        subprocess.Popen([*command, "killed", str(units)], stdout=subprocess.PIPE, text=True)
    ) as process:
        wait_for_line(process, "stuck")
        process.kill()
    assert len(dead_letters_table.states(rows, "cleaner")) == units - 1

    ended = run_redrive(harness, url, rows, "next")

    assert [record.value for record in wait_for_records(broker, RETRY, 6)] == [str(n).encode() for n in range(6)]
    assert len(dead_letters_table.states(rows, "cleaner")) == 6
    assert (ended.state, ended.counts["redriven"]) == ("succeeded", 6)


def test_a_redrive_cancelled_without_a_worker_still_settles_what_it_sent(
    harness: Harness, broker: Broker, url: str, rows: Rows, tmp_path: Path
) -> None:
    fill(broker, 6)
    operation = create_redrive(rows, load_index(broker))
    assert jobs_table.claim(rows, "cleaner", "killed", ["redrive"]) is not None
    command = [sys.executable, "-m", "tests.shared.runtime.jobs.redriver", str(tmp_path / "broker.url"), operation.id]
    with killed_at_end(subprocess.Popen([*command, "killed", "2"], stdout=subprocess.PIPE, text=True)) as process:
        wait_for_line(process, "stuck")
        process.kill()
    operations_table.apply_command(rows, operation, "cancel")

    ended = run_redrive(harness, url, rows, "next")

    assert (ended.state, ended.counts["redriven"]) == ("cancelled", 2)
    assert len(wait_for_records(broker, RETRY, 2)) == len(dead_letters_table.states(rows, "cleaner")) == 2

    create_redrive(rows, load_index(broker))
    run_redrive(harness, url, rows, "after")
    assert [record.value for record in wait_for_records(broker, RETRY, 6)] == [str(n).encode() for n in range(6)]


def test_connections_that_break_during_handling_cause_no_dead_letters(harness: Harness, broker: Broker) -> None:
    broker.ensure_topics([TopicSpec(RAW, 1), TopicSpec(CLEAN, 1)])
    append(broker, [raw(number) for number in range(300)])
    handled: list[int] = []
    broken_connections: list[int] = []

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        handled.extend(number_of(received) for received in batch)
        if len(handled) >= 50 * (1 + len(broken_connections)) and len(broken_connections) < 3:
            broken_connections.append(harness.cut())
        return [output_of(received) for received in batch]

    loop = ConsumerLoop(
        harness.new_broker(),
        service="cleaner",
        slot="0",
        reads=[RAW],
        metrics=Metrics(),
        handler=InUnit(handle),
        max_records=10,
    )
    with run_in_thread(loop):
        until(lambda: [int(record.value) for record in read_all(broker, CLEAN)] == list(range(300)))

    assert len(broken_connections) >= 3
    assert all(broken_connections)
    assert read_all(broker, DEAD_LETTERS) == []
