"""A record that kills the process becomes a dead letter; the others are handled."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import Record, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.ops.dead_letters import letter_of
from shared.runtime.control.attempts import AttemptNotes
from shared.runtime.loops.quarantine import Quarantine, batch_limit
from tests.processes import killed_at_end, wait_for_line
from tests.shared.runtime.loop_harness import append, committed_count, contents, open_broker, output_numbers, raw
from tests.waiting import DEADLINE_S, wait_until

TP = TopicPartition("t", 0)
COUNT = 150
Database = psycopg.Connection[Any]


class Killed(BaseException):
    """The simulated process ends without a chance to note anything."""


class StoredNotes:
    """The table ops.attempts, for one partition and one process after the other."""

    def __init__(self) -> None:
        self.deaths: int | None = None
        self.at_offset: int | None = None

    def take(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        if self.deaths is None:
            self.deaths = 0
        elif self.deaths == 0:
            self.deaths = 1
        elif self.at_offset == offsets[TP]:
            self.deaths += 1
        self.at_offset = None
        return {TP: self.deaths}

    def note(self, offsets: Mapping[TopicPartition, int | None]) -> None:
        self.at_offset = offsets[TP]

    def clear(self, tps: Collection[TopicPartition]) -> None:
        self.deaths = 0

    def release(self, tps: Collection[TopicPartition]) -> None:
        self.deaths = None if self.deaths == 0 else self.deaths

    def close(self) -> None: ...


class Run:
    """Processes that handle the records of a partition one after the other and are killed by some of them."""

    def __init__(self, count: int, bad: Collection[int], max_deaths: int) -> None:
        self.count, self.bad, self.max_deaths = count, bad, max_deaths
        self.notes, self.position = StoredNotes(), 0
        self.handled: list[int] = []
        self.quarantined: list[int] = []
        self.deaths_of: dict[int, int] = dict.fromkeys(bad, 0)

    def process(self) -> None:
        quarantine = Quarantine(self.notes, self.max_deaths, 100)
        while self.position < self.count:
            limit = quarantine.before_poll(frozenset({TP}))
            records = [
                Record("t", 0, offset, 0, b"", b"", {})
                for offset in range(self.position, min(self.count, self.position + limit))
            ]
            if quarantine.is_too_large(records):
                continue
            failed = [each.record.offset for each in quarantine.begin(records)]
            culprits = [each.offset for each in records if each.offset in self.bad and each.offset not in failed]
            if culprits:
                for culprit in culprits:
                    self.deaths_of[culprit] += 1
                raise Killed
            self.quarantined += failed
            self.handled += [each.offset for each in records if each.offset not in failed]
            self.position = records[-1].offset + 1
            quarantine.commit(records)
        quarantine.close()


@given(count=st.integers(1, 300), bad=st.frozensets(st.integers(0, 299), max_size=4), max_deaths=st.integers(2, 6))
def test_exactly_the_records_that_kill_are_quarantined(count: int, bad: frozenset[int], max_deaths: int) -> None:
    run = Run(count, bad, max_deaths)
    for _ in range((len(bad) + 1) * max_deaths + 1):
        try:
            run.process()
            break
        except Killed:
            continue

    expected = sorted(number for number in bad if number < count)
    assert (run.position, run.quarantined) == (count, expected)
    assert run.handled == [number for number in range(count) if number not in bad]
    assert all(deaths <= max_deaths * len(bad) for deaths in run.deaths_of.values())


def test_the_last_attempt_has_one_record() -> None:
    assert [batch_limit(2000, deaths, 3) for deaths in range(4)] == [2000, 45, 1, 1]
    assert [batch_limit(2000, deaths, 2) for deaths in range(3)] == [2000, 1, 1]
    assert batch_limit(1, 1, 5) == 1


@contextmanager
def started(url: str, death: str, *bad: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.shared.runtime.loops.killed_process", url, death, *map(str, bad)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4])
    with killed_at_end(process):
        wait_for_line(process, "started")
        yield process


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    broker = open_broker(database_url)
    yield broker
    broker.close()


@pytest.mark.parametrize("death", ["exit", "crash", "out of memory"])
def test_a_record_that_kills_real_processes_is_quarantined_after_three(
    database_url: str, broker: PostgresBroker, death: str
) -> None:
    append(broker, [raw(number) for number in range(COUNT)])
    codes: list[int] = []
    while committed_count(broker) < COUNT and len(codes) < 10:
        with started(database_url, death, 77) as process:
            wait_until(lambda: process.poll() is not None or committed_count(broker) == COUNT)
            if process.poll() is None:
                process.terminate()
            codes.append(process.wait(DEADLINE_S))

    assert (codes[:-1], codes[-1]) == ([codes[0]] * 3, 0)
    assert codes[0] != 0
    assert output_numbers(broker) == [number for number in range(COUNT) if number != 77]
    (letter,) = map(letter_of, contents(broker, "cleaner.dlq"))
    assert (letter.cause, letter.message, letter.attempts) == ("ProcessEnded", "ended the process 3 times", 3)


def test_a_process_that_is_killed_while_it_waits_accuses_no_record(
    database_url: str, database: Database, broker: PostgresBroker
) -> None:
    append(broker, [raw(number) for number in range(10)])
    for number in range(10, 15):
        with started(database_url, "exit"):
            append(broker, [raw(number)])
            wait_until(partial(_is_committed, broker, number + 1))

    assert contents(broker, "cleaner.dlq") == []
    assert database.execute("SELECT max(deaths) FROM ops.attempts").fetchone() == (1,)


def _is_committed(broker: PostgresBroker, count: int) -> bool:
    return committed_count(broker) == count


def test_a_process_that_ends_cleanly_leaves_no_note(
    database_url: str, database: Database, broker: PostgresBroker
) -> None:
    append(broker, [raw(0)])
    with started(database_url, "exit") as process:
        wait_until(lambda: committed_count(broker) == 1)
        noted = database.execute("SELECT FROM ops.attempts").rowcount
        process.terminate()
        assert process.wait(DEADLINE_S) == 0

    assert (noted, database.execute("SELECT FROM ops.attempts").rowcount) == (1, 0)


def test_no_error_reaches_the_loop_while_nothing_can_be_noted() -> None:
    notes = AttemptNotes("host=/nowhere dbname=none", "cleaner", uuid4())

    assert notes.take({TP: 0}) is None
    notes.note({TP: 0})
    notes.close()
