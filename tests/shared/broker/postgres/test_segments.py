"""The segments of the embedded log: new ones are opened and old ones dropped while the log is written and read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from shared.broker.contract import TopicPartition
from shared.broker.postgres import retention
from shared.broker.postgres.broker import PostgresBroker
from shared.database.migrations import migrate, migrations
from shared.topics import TopicSpec
from tests.contract.records import fill, new_record, put, read_all, values
from tests.waiting import DEADLINE_S, wait_until

Database = psycopg.Connection[tuple[Any, ...]]
DAYS_4 = 4 * 86400
ONE = TopicPartition("one", 0)


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    with closing(PostgresBroker(database_url)) as broker:
        broker.ensure_topics([TopicSpec("one", 2, retention_s=DAYS_4), TopicSpec("long", 1, retention_s=10 * DAYS_4)])
        yield broker


def segments(database: Database) -> list[int]:
    return [number for (number,) in database.execute("SELECT segment FROM broker.segments ORDER BY 1").fetchall()]


def batches_by_segment(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("SELECT segment, count(*) FROM broker.log GROUP BY 1 ORDER BY 1").fetchall()


def open_next(database: Database) -> None:
    """Open a segment, as if the newest one were two days old."""
    newest = segments(database)[-1]
    database.execute("UPDATE broker.segments SET opened_at = opened_at - interval '2 days'")
    retain_until(database, lambda: segments(database)[-1] > newest)


def retain_until(database: Database, is_done: Callable[[], bool], max_batches: int = retention.MAX_BATCHES) -> None:
    """A turn changes nothing if someone else locks the log for more than 0.2 s."""

    def is_done_after_a_turn() -> bool:
        retention.enforce(database, max_batches)
        return is_done()

    wait_until(is_done_after_a_turn)


def age(database: Database, days: int) -> None:
    """Let the batches and segments be older."""
    database.execute("UPDATE broker.segments SET opened_at = opened_at - make_interval(days => %s)", (days,))
    database.execute("UPDATE broker.log SET first_ms = first_ms - %(ms)s, last_ms = last_ms - %(ms)s",
                     {"ms": days * 86_400_000})  # fmt: skip


def fill_two_segments(broker: PostgresBroker, database: Database) -> None:
    """Records 0 to 3, two in each segment."""
    fill(broker, "one", ["0"], partition=0)
    fill(broker, "one", ["1"], partition=0)
    open_next(database)
    fill(broker, "one", ["2"], partition=0)
    fill(broker, "one", ["3"], partition=0)


def test_a_segment_is_opened_when_it_is_due_and_not_while_the_newest_is_empty(
    broker: PostgresBroker, database: Database
) -> None:
    fill(broker, "one", ["0"], partition=0)
    retention.enforce(database)
    assert segments(database) == [0]

    open_next(database)
    database.execute("UPDATE broker.segments SET opened_at = opened_at - interval '2 days'")
    retention.enforce(database)

    assert segments(database) == [0, 1]


def test_the_number_of_segments_is_bounded(broker: PostgresBroker, database: Database) -> None:
    for number in range(12):
        fill(broker, "long", [str(number)])
        database.execute("UPDATE broker.segments SET opened_at = now() - interval '2 days'")
        retain_until(database, lambda: len(segments(database)) == min(12, number + 2))  # noqa: B023  # called at once
    retention.enforce(database)

    assert len(segments(database)) == 12
    assert values(read_all(broker, "long")) == [str(number) for number in range(12)]


def test_readers_find_the_records_of_all_segments(broker: PostgresBroker, database: Database) -> None:
    fill_two_segments(broker, database)
    assert batches_by_segment(database) == [(0, 2), (1, 2)]

    with closing(broker.reader([ONE])) as reader:
        for first in range(4):
            reader.seek(ONE, first)
            found = [value for _ in range(4 - first) for value in values(reader.poll(DEADLINE_S, 1))]
            assert found == [str(number) for number in range(first, 4)]


def test_an_expired_segment_is_dropped_and_the_next_one_takes_what_must_stay(
    broker: PostgresBroker, database: Database
) -> None:
    fill(broker, "long", ["letter"])
    fill(broker, "one", ["idle"], partition=1)
    fill(broker, "one", ["idle too"], partition=1)
    fill_two_segments(broker, database)
    with closing(broker.reader([ONE])) as reader:
        reader.seek(ONE, 0)
        assert values(reader.poll(DEADLINE_S, 1)) == ["0"]
        age(database, 4)

        retain_until(database, lambda: segments(database) == [1, 2])

        assert database.execute("SELECT to_regclass('broker.log_0')").fetchone() == (None,)
        assert batches_by_segment(database) == [(1, 4)]
        assert broker.begin_offsets([ONE, TopicPartition("one", 1)]) == {ONE: 2, TopicPartition("one", 1): 1}
        assert values(read_all(broker, "one")) == ["2", "3", "idle too"]
        assert values(read_all(broker, "long")) == ["letter"]
        assert "3" in [value for _ in range(3) for value in values(reader.poll(DEADLINE_S, 1))]


def test_what_a_group_has_not_read_stays(broker: PostgresBroker, database: Database) -> None:
    fill_two_segments(broker, database)
    age(database, 4)
    database.execute(
        "INSERT INTO broker.positions (grp, topic_id, p, next_off) SELECT 'slow', id, 0, 1 FROM broker.topics"
        " WHERE name = 'one'"
    )

    retain_until(database, lambda: segments(database) == [1, 2])

    assert values(read_all(broker, "one")) == ["1", "2", "3"]


def test_a_segment_of_which_much_must_stay_is_kept_and_its_other_batches_are_deleted(
    broker: PostgresBroker, database: Database
) -> None:
    for value in ("a", "b", "c"):
        fill(broker, "long", [value])
    fill_two_segments(broker, database)
    age(database, 4)
    retention.enforce(database, max_batches=2)
    assert batches_by_segment(database) == [(0, 5), (1, 2)]
    assert retention.overdue(database) == []  # waits for the segment

    age(database, 2)
    assert [each.topic for each in retention.overdue(database)] == ["one"]
    retention.enforce(database, max_batches=2)

    assert batches_by_segment(database) == [(0, 3), (1, 2)]
    assert values(read_all(broker, "long")) == ["a", "b", "c"]


def test_a_segment_that_someone_reads_is_dropped_later_and_writers_continue(
    broker: PostgresBroker, database: Database, database_url: str
) -> None:
    fill_two_segments(broker, database)
    age(database, 4)
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM broker.log")
        retention.enforce(database)
        fill(broker, "one", ["4"], partition=0)
        assert 0 in segments(database)

    retain_until(database, lambda: 0 not in segments(database))

    assert values(read_all(broker, "one")) == ["2", "3", "4"]


def test_segments_grow_with_the_offsets_while_segments_are_opened(
    broker: PostgresBroker, database: Database, database_url: str
) -> None:
    def append(slot: str) -> None:
        with closing(PostgresBroker(database_url)) as own, closing(own.producer(slot)) as producer:
            while not stop.is_set():
                put(producer, [new_record("one", slot, partition=0)])

    stop = threading.Event()
    with ThreadPoolExecutor(2) as executor:
        writers = [executor.submit(append, slot) for slot in ("a", "b")]
        try:
            for _ in range(5):
                fill(broker, "one", ["c"], partition=0)
                open_next(database)
        finally:
            stop.set()
        for writer in writers:
            writer.result(DEADLINE_S)

    assert segments(database)[-1] == 5
    unordered = (
        "SELECT count(*) FROM (SELECT segment, lag(segment) OVER (ORDER BY base_off) AS before FROM broker.log) each"
        " WHERE segment < before"
    )
    assert database.execute(unordered).fetchone() == (0,)


def test_a_filled_log_becomes_the_first_segment(postgres: EmbeddedPostgres) -> None:
    later = next(each for each in migrations() if each.path.stem == "0006_segments")
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE filled_log")
        try:
            url = postgres.url_with_password(database="filled_log")
            migrate(url, [each for each in migrations() if each.area == later.area and each.number < later.number])
            with closing(PostgresBroker(url)) as broker, psycopg.connect(url, autocommit=True) as database:
                broker.ensure_topics([TopicSpec("one", 1, retention_s=DAYS_4)])
                fill(broker, "one", ["0", "1"])
                database.execute("UPDATE broker.log SET first_ms = first_ms - 172800000")
                before = database.execute("SELECT payload FROM broker.log").fetchall()

                assert migrate(url, [later]) == 1

                fill(broker, "one", ["2"])
                assert batches_by_segment(database) == [(0, 1), (1, 1)]
                assert database.execute("SELECT payload FROM broker.log WHERE segment = 0").fetchall() == before
                assert values(read_all(broker, "one")) == ["0", "1", "2"]
        finally:
            admin.execute("DROP DATABASE filled_log WITH (FORCE)")
