"""Retention of the embedded log in bounded turns, and groups that keep records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from shared.broker.contract import TopicPartition
from shared.broker.postgres import retention
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.groups import forget_group, list_groups
from shared.errors import ConfigError
from shared.topics import TopicSpec
from tests.contract.records import fill, poll_some

Database = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    with closing(PostgresBroker(database_url)) as broker:
        broker.ensure_topics([TopicSpec("one", 2, retention_s=3600)])
        yield broker


def store_old_batches(database: Database, partition: int, batches: int, size_bytes: int = 10) -> None:
    """Batches of one record each, that should have been deleted a day ago."""
    database.execute(
        "INSERT INTO broker.log SELECT t.id, %s, n, 1, 0, (extract(epoch FROM now()) - 90000) * 1000,"
        " convert_to(repeat('x', %s), 'UTF8') FROM broker.topics t, generate_series(0, %s) n WHERE t.name = 'one'",
        (partition, size_bytes, batches - 1),
    )
    database.execute("UPDATE broker.partitions SET end_off = %s WHERE p = %s", (batches, partition))


def batches(database: Database) -> int:
    row = database.execute("SELECT count(*) FROM broker.log").fetchone()
    assert row is not None
    return int(row[0])


def test_a_large_backlog_is_deleted_in_bounded_turns(broker: PostgresBroker, database: Database) -> None:
    for partition in (0, 1):
        store_old_batches(database, partition, 100)

    assert retention.enforce(database, max_batches=30) == 60
    assert [(each.topic, each.partition, each.group) for each in retention.overdue(database)] == [
        ("one", 0, None),
        ("one", 1, None),
    ]
    while retention.enforce(database, max_batches=30):
        pass

    assert batches(database) == 2  # the newest of each partition
    assert retention.overdue(database) == []
    assert broker.begin_offsets([TopicPartition("one", 0)]) == {TopicPartition("one", 0): 99}


def test_a_turn_is_bounded_by_bytes_and_deletes_at_least_one_batch(broker: PostgresBroker, database: Database) -> None:
    store_old_batches(database, 0, 10, size_bytes=1000)

    assert retention.enforce(database, max_bytes=3000) == 3
    assert retention.enforce(database, max_bytes=1) == 1
    assert batches(database) == 6


def test_a_short_turn_stops_after_a_partition_and_the_next_ones_finish(
    broker: PostgresBroker, database: Database
) -> None:
    for partition in (0, 1):
        store_old_batches(database, partition, 10)

    assert retention.enforce(database, turn_s=0) == 9
    assert sum(retention.enforce(database, turn_s=0) for _ in range(20)) == 9


def test_a_group_that_keeps_records_is_named_and_can_be_forgotten(broker: PostgresBroker, database: Database) -> None:
    store_old_batches(database, 0, 10)
    database.execute(
        "INSERT INTO broker.positions (grp, topic_id, p, next_off) SELECT 'gone', id, 0, 4 FROM broker.topics"
    )

    retention.enforce(database)
    (overdue,) = retention.overdue(database)
    (group,) = list_groups(database)

    assert batches(database) == 6
    assert (overdue.partition, overdue.group) == (0, "gone")
    assert overdue.seconds == pytest.approx(90000 - 3600, abs=600)
    assert group.is_forgotten
    assert group.unread == 6

    assert forget_group(database, "gone") == 6
    retention.enforce(database)

    assert batches(database) == 1
    assert list_groups(database) == []


def test_a_group_with_a_member_is_not_forgotten(broker: PostgresBroker, database: Database) -> None:
    fill(broker, "one", ["a"])
    with closing(broker.consumer("group", ["one"], "a")) as consumer:
        poll_some(consumer)
        with pytest.raises(ConfigError, match="at work"):
            forget_group(database, "group")
    with pytest.raises(ConfigError, match="expected one of group"):
        forget_group(database, "another")
