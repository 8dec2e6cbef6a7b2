"""Contract of every broker: the log. Groups, units and faults have their own files."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from shared.broker.contract import Broker, Record, TopicPartition
from shared.errors import ConfigError
from shared.topics import TopicSpec
from tests.contract.conftest import TOPICS, Harness
from tests.contract.records import (
    fill,
    new_record,
    poll_some,
    put,
    until,
    values,
    wait_for_partitions,
    wait_for_prompt_wake_ups,
    wait_for_records,
)
from tests.waiting import DEADLINE_S, wait_until

ONE = TopicPartition("one", 0)
STATE = "state"


def test_records_are_read_as_they_were_appended(broker: Broker) -> None:
    before_ms = time.time() * 1000 - 1

    fill(broker, "one", ["ä", "b"], key="schlüssel")

    first, second = wait_for_records(broker, "one", 2)
    assert (first.key, first.value, dict(first.headers)) == ("schlüssel".encode(), "ä".encode(), {"n": "ä".encode()})
    assert before_ms <= first.timestamp_ms <= time.time() * 1000 + 1
    assert second.offset > first.offset


def test_records_of_a_key_keep_their_order_in_one_partition(broker: Broker) -> None:
    with closing(broker.producer("p")) as producer:
        for number in range(10):
            put(producer, [new_record("many", f"{key}{number}", key) for key in "abcdefgh"])

    records = wait_for_records(broker, "many", 80)

    assert len({record.partition for record in records}) > 1
    for key in "abcdefgh":
        mine = [record for record in records if record.key == key.encode()]
        assert values(mine) == [f"{key}{number}" for number in range(10)]
        assert len({record.partition for record in mine}) == 1


def test_an_explicit_partition_is_used(broker: Broker) -> None:
    fill(broker, "many", ["here"], partition=3)

    assert wait_for_records(broker, "many", 1)[0].partition == 3


def test_concurrent_appends_get_unique_offsets_and_a_reader_sees_them_in_order(broker: Broker) -> None:
    writers, units = 4, 25

    def append(name: str) -> None:
        with closing(broker.producer(name)) as producer:
            for number in range(units):
                put(producer, [new_record("one", f"{name}/{number}/{part}") for part in range(3)])

    threads = [threading.Thread(target=append, args=(f"w{each}",)) for each in range(writers)]
    with closing(broker.reader([ONE])) as reader:
        for thread in threads:
            thread.start()
        seen: list[Record] = []

        def read_all() -> bool:
            seen.extend(reader.poll(0.1, 7))
            return len(seen) >= writers * units * 3

        wait_until(read_all)
        for thread in threads:
            thread.join()

    offsets = [record.offset for record in seen]
    assert offsets == sorted(set(offsets))
    assert len(seen) == writers * units * 3
    for name in ("w0", "w1", "w2", "w3"):
        mine = [value for value in values(seen) if value.startswith(name)]
        assert mine == [f"{name}/{number}/{part}" for number in range(units) for part in range(3)]


def test_a_unit_over_many_partitions_does_not_deadlock_with_others(broker: Broker) -> None:
    """Three producers append to all partitions of two topics in different orders."""

    def append(name: str, topics: tuple[str, ...]) -> None:
        with closing(broker.producer(name)) as producer:
            for _ in range(15):
                put(producer, [new_record(topic, name, partition=p) for topic in topics for p in (0, 3, 1, 2)])

    orders = (("many", "other"), ("other", "many"), ("other",))
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(append, f"w{each}", order) for each, order in enumerate(orders)]:
            future.result()

    assert len(wait_for_records(broker, "other", 3 * 15 * 4)) == 3 * 15 * 4


def test_a_large_unit_can_be_read_in_several_polls(broker: Broker) -> None:
    expected = [f"{number}" + "x" * 100 for number in range(5000)]
    fill(broker, "one", expected)

    consumer = broker.consumer("group", ["one"], "a")
    read: list[str] = []
    while len(read) < len(expected):
        read += values(poll_some(consumer, 777).records)
    consumer.close()

    assert read == expected


def test_a_poll_returns_at_most_the_requested_number_of_records(broker: Broker) -> None:
    fill(broker, "many", [str(number) for number in range(50)], partition=0)
    fill(broker, "many", [str(number) for number in range(50)], partition=1)

    with closing(broker.consumer("group", ["many"], "a")) as consumer:
        assert len(poll_some(consumer, 60).records) <= 60


def test_an_idle_poll_wakes_up_at_once_after_a_commit(broker: Broker) -> None:
    with closing(broker.consumer("group", ["one"], "a")) as consumer, closing(broker.producer("p")) as producer:
        wait_for_partitions(consumer, 1)

        wait_for_prompt_wake_ups(consumer, producer)


def test_offsets_for_times_finds_the_first_record_from_then_on(broker: Broker) -> None:
    fill(broker, "one", ["old"])
    old = wait_for_records(broker, "one", 1)[0]
    until(lambda: time.time() * 1000 > old.timestamp_ms + 5)
    fill(broker, "one", ["new"])
    new_one = wait_for_records(broker, "one", 2)[1]

    def at(ms: float) -> int:
        return broker.offsets_for_times([ONE], datetime.fromtimestamp(ms / 1000, UTC))[ONE]

    assert at(old.timestamp_ms) == old.offset
    assert old.offset < at(old.timestamp_ms + 1) <= new_one.offset  # there may be offsets without a record in between
    assert at(new_one.timestamp_ms + 60_000) == broker.end_offsets([ONE])[ONE]
    assert broker.offsets_for_times([ONE], datetime.now(UTC) - timedelta(days=1)) == {ONE: old.offset}


def test_a_reader_without_a_group_moves_no_position(broker: Broker) -> None:
    fill(broker, "one", ["a", "b", "c"])

    with closing(broker.reader([ONE])) as reader:
        first = reader.poll(DEADLINE_S, 100)
        reader.seek(ONE, first[1].offset)
        again = reader.poll(DEADLINE_S, 100)

    assert (values(first), values(again)) == (["a", "b", "c"], ["b", "c"])
    until(lambda: broker.committed("group", ["one"]) == {ONE: broker.begin_offsets([ONE])[ONE]})


def test_cursors_are_set_with_the_unit_and_the_last_value_counts(broker: Broker) -> None:
    with closing(broker.producer("p")) as producer:
        for value in (b"1", b"2"):
            with producer.unit() as unit:
                unit.cursor_set(STATE, "shard", value)
                unit.append([new_record("one", "x")])
                unit.commit()
        with producer.unit() as unit:
            unit.cursor_set(STATE, "shard", b"3")
            unit.abort()

    until(lambda: broker.cursors(STATE) == {"shard": b"2"})


def test_a_different_number_of_partitions_is_a_config_error(broker: Broker) -> None:
    with pytest.raises(ConfigError, match="'many' has 4 partitions, settings say 5"):
        broker.ensure_topics([TopicSpec("many", 5)])

    assert len(broker.partitions("many")) == 4


def test_topics_can_be_ensured_concurrently_and_repeatedly(harness: Harness) -> None:
    specs = [*TOPICS, TopicSpec("fresh", 3)]

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(harness.new_broker().ensure_topics, specs) for _ in range(4)]:
            future.result()

    assert len(harness.broker.partitions("fresh")) == 3


def test_a_topic_that_does_not_exist_is_a_config_error(broker: Broker) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        broker.partitions("nowhere")
    with pytest.raises(ConfigError, match="nowhere"):
        broker.end_offsets([TopicPartition("nowhere", 0)])
    with pytest.raises(ConfigError, match="nowhere"):
        broker.consumer("group", ["nowhere"], "a")
    with closing(broker.producer("p")) as producer, pytest.raises(ConfigError, match="nowhere"):
        put(producer, [new_record("nowhere", "x")])


def test_health_succeeds_while_the_broker_is_available(broker: Broker) -> None:
    broker.health()
