"""Retention of the embedded log. Kafka has its own; tests/shared/broker/kafka/test_topics.py checks its settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shared.broker.contract import OffsetsGone, TopicPartition
from shared.topics import TopicSpec
from tests.contract.conftest import LEASE_S, EmbeddedHarness
from tests.contract.database import empty_log
from tests.contract.records import advance, fill, new_record, poll_some, put, read_all, values
from tests.waiting import DEADLINE_S


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedHarness]:
    with (
        empty_log(request.getfixturevalue("postgres")) as url,
        closing(EmbeddedHarness(url, tmp_path / "broker.url", LEASE_S)) as embedded,
    ):
        yield embedded


def test_old_records_are_removed_but_never_those_that_a_group_has_not_read(harness: EmbeddedHarness) -> None:
    broker = harness.broker
    broker.ensure_topics([TopicSpec("brief", 1, retention_s=0)])
    brief = TopicPartition("brief", 0)
    with closing(broker.consumer("group", ["brief"], "a")) as consumer, closing(broker.producer("p")) as producer:
        for number in range(4):
            put(producer, [new_record("brief", str(number))])
        polled = poll_some(consumer, 2)
        while len(polled.records) < 2:
            polled = poll_some(consumer, 2)
        with producer.unit() as unit:
            advance(unit, polled)
            unit.commit()

        harness.retain()

        assert values(read_all(broker, "brief")) == ["2", "3"]
        assert broker.begin_offsets([brief])[brief] == read_all(broker, "brief")[0].offset
        assert values(poll_some(consumer).records)[0] == "2"


def test_a_reader_that_needs_all_records_names_those_that_are_gone(harness: EmbeddedHarness) -> None:
    harness.broker.ensure_topics([TopicSpec("small", 1, None, retention_bytes=1)])
    small = TopicPartition("small", 0)
    for number in range(4):
        fill(harness.broker, "small", [str(number)])
    harness.retain()

    with closing(harness.broker.reader([small], complete=True)) as reader:
        reader.seek(small, 1)
        with pytest.raises(OffsetsGone, match="the 2 offsets from 1 to before 3 are gone"):
            reader.poll(0.1, 10)
        reader.seek(small, 3)
        assert values(reader.poll(DEADLINE_S, 10)) == ["3"]


def test_records_beyond_a_topics_size_are_removed_oldest_first(harness: EmbeddedHarness) -> None:
    broker = harness.broker
    broker.ensure_topics([TopicSpec("small", 1, None, retention_bytes=1)])
    with closing(broker.producer("p")) as producer:
        for number in range(4):
            put(producer, [new_record("small", str(number))])

    harness.retain()

    assert values(read_all(broker, "small")) == ["3"]
    fill(broker, "small", ["4"])
    assert values(read_all(broker, "small")) == ["3", "4"]


def test_topics_without_limits_keep_everything(harness: EmbeddedHarness) -> None:
    harness.broker.ensure_topics([TopicSpec("unlimited", 1, None)])
    for value in ("a", "b"):
        fill(harness.broker, "unlimited", [value])

    harness.retain()

    assert values(read_all(harness.broker, "unlimited")) == ["a", "b"]
