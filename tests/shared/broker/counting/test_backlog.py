"""The backlog in the embedded log."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from shared.broker.contract import NewRecord, TopicPartition
from shared.broker.counting.backlog import NO_BACKLOG, GaplessBacklog
from tests.shared.runtime.loop_harness import append, open_broker

TP = TopicPartition("cleaner.dlq", 0)


@pytest.fixture
def backlog(url: str) -> Iterator[GaplessBacklog]:
    broker = open_broker(url)
    for size in (3, 2):
        append(broker, [NewRecord(TP.topic, b"k", b"v", {})] * size)
    broker.close()
    backlog = GaplessBacklog(url)
    yield backlog
    backlog.close()


def test_records_removed_by_retention_are_not_counted(backlog: GaplessBacklog, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as rows:
        rows.execute("DELETE FROM broker.log WHERE base_off = 0")
        rows.execute("UPDATE broker.partitions SET begin_off = 3 WHERE end_off = 5")

    measured = backlog.measure({TP: (1, 5)}, thorough=True)[TP]

    assert (measured.records, measured.exact) == (2, True)


def test_the_age_is_that_of_the_batch_that_contains_the_position(backlog: GaplessBacklog, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as rows:
        rows.execute("UPDATE broker.log SET first_ms = 1000 + base_off")

    oldest = [backlog.measure({TP: (position, 5)}, thorough=False)[TP].oldest_ms for position in (0, 2, 3, 4)]

    assert oldest == [1000, 1000, 1003, 1003]


def test_there_is_no_backlog_at_the_end(backlog: GaplessBacklog) -> None:
    assert backlog.measure({TP: (5, 5)}, thorough=True) == {TP: NO_BACKLOG}
    assert backlog.measure({}, thorough=True) == {}
