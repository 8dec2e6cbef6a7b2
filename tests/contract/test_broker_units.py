"""Contract of every broker: units are atomic, and the former owner of a partition or slot cannot commit one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from shared.broker.contract import Broker, Consumer, NewRecord, PollResult, Producer, TopicPartition
from shared.errors import BrokerError, ConfigError, Fenced, HeadraceError
from tests.contract.conftest import Harness
from tests.contract.records import (
    advance,
    assert_no_records,
    fill,
    new_record,
    next_offsets,
    poll_some,
    put,
    read_all,
    until,
    values,
    wait_for_partitions,
)

ONE = TopicPartition("one", 0)


@pytest.fixture
def consumer(broker: Broker) -> Iterator[Consumer]:
    """A member of `group` that owns topic `one` with three records."""
    fill(broker, "one", ["a", "b", "c"])
    with closing(broker.consumer("group", ["one"], "slot")) as consumer:
        yield consumer


@pytest.fixture
def producer(broker: Broker) -> Iterator[Producer]:
    with closing(broker.producer("slot")) as producer:
        yield producer


def process(producer: Producer, polled: PollResult, output: NewRecord | None = None) -> None:
    with producer.unit() as unit:
        unit.append([output or new_record("other", "out")])
        advance(unit, polled)
        unit.cursor_set("state", "key", b"set")
        unit.commit()


def nothing_happened(broker: Broker) -> bool:
    return (
        read_all(broker, "other") == []
        and broker.cursors("state") == {}
        and broker.committed("group", ["one"]) == broker.begin_offsets([ONE])
    )


def test_append_advance_and_cursor_become_visible_together(
    broker: Broker, consumer: Consumer, producer: Producer
) -> None:
    polled = poll_some(consumer)
    with producer.unit() as unit:
        unit.append([new_record("other", "out")])
        advance(unit, polled)
        unit.cursor_set("state", "key", b"set")
        assert nothing_happened(broker)
        unit.commit()

    until(lambda: values(read_all(broker, "other")) == ["out"])
    until(lambda: broker.committed("group", ["one"]) == next_offsets(polled))
    until(lambda: broker.cursors("state") == {"key": b"set"})
    assert_no_records(consumer)


def test_a_unit_sets_many_cursors_and_the_last_value_of_each_counts(broker: Broker, producer: Producer) -> None:
    with producer.unit() as unit:
        for key, value in (("b", b"1"), ("a", b"\x00{}"), ("b", b"2")):
            unit.cursor_set("state", key, value)
        unit.commit()

    until(lambda: broker.cursors("state") == {"a": b"\x00{}", "b": b"2"})


def test_an_aborted_unit_leaves_nothing(broker: Broker, consumer: Consumer, producer: Producer) -> None:
    unit = producer.unit()
    unit.append([new_record("other", "out")])
    advance(unit, poll_some(consumer))
    unit.cursor_set("state", "key", b"set")
    unit.abort()
    unit.abort()

    assert nothing_happened(broker)
    with pytest.raises(BrokerError):
        unit.commit()


def test_an_exception_in_the_block_leaves_nothing(broker: Broker, consumer: Consumer, producer: Producer) -> None:
    def fail() -> None:
        with producer.unit() as unit:
            unit.append([new_record("other", "out")])
            advance(unit, poll_some(consumer))
            unit.cursor_set("state", "key", b"set")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert nothing_happened(broker)


def test_a_unit_that_fails_in_its_last_part_leaves_nothing_of_the_first(
    broker: Broker, consumer: Consumer, producer: Producer
) -> None:
    polled = poll_some(consumer)

    with pytest.raises(ConfigError):
        process(producer, polled, new_record("other", "out", partition=99))

    assert nothing_happened(broker)
    consumer.reload()
    process(producer, poll_some(consumer))
    until(lambda: values(read_all(broker, "other")) == ["out"])


def test_reload_gives_the_same_records_again_after_a_failed_unit(consumer: Consumer, producer: Producer) -> None:
    first = poll_some(consumer)
    with producer.unit() as unit:
        advance(unit, first)

    consumer.reload()

    assert poll_some(consumer).records == first.records


def test_positions_are_advanced_step_by_step(broker: Broker, consumer: Consumer, producer: Producer) -> None:
    seen = []
    for _ in range(3):
        polled = poll_some(consumer, 1)
        seen += values(polled.records)
        process(producer, polled, new_record("other", seen[-1]))

    assert seen == ["a", "b", "c"]
    until(lambda: values(read_all(broker, "other")) == seen)


def test_a_partition_advanced_twice_in_a_unit_ends_at_the_last(
    broker: Broker, consumer: Consumer, producer: Producer
) -> None:
    first, second = poll_some(consumer, 1), poll_some(consumer, 1)
    with producer.unit() as unit:
        advance(unit, first)
        advance(unit, second)
        unit.commit()

    until(lambda: broker.committed("group", ["one"]) == next_offsets(second))


def test_units_of_two_groups_do_not_affect_each_other(broker: Broker, consumer: Consumer, producer: Producer) -> None:
    process(producer, poll_some(consumer))

    with closing(broker.consumer("another group", ["one"], "slot")) as another:
        assert values(poll_some(another).records) == ["a", "b", "c"]


def test_a_second_consumer_of_a_slot_takes_over_at_once_and_the_first_is_fenced(
    harness: Harness, consumer: Consumer, producer: Producer
) -> None:
    polled = poll_some(consumer)

    with closing(harness.new_broker().consumer("group", ["one"], "slot")) as second:
        polled_again = poll_some(second)
        with pytest.raises(Fenced):
            process(producer, polled)
        assert nothing_happened(harness.broker)
        with closing(harness.broker.producer("slot")) as again:
            process(again, polled_again)

    until(lambda: values(read_all(harness.broker, "other")) == ["out"])


def test_the_first_consumer_of_a_slot_fails_and_does_not_disturb_the_second(
    harness: Harness, consumer: Consumer
) -> None:
    """If it took its partitions back, two processes of one slot would fence each other endlessly."""
    poll_some(consumer)

    with closing(wait_for_partitions(harness.new_broker().consumer("group", ["one"], "slot"), 1)) as second:
        with pytest.raises(HeadraceError, match="slot"):
            until(lambda: bool(consumer.reload()))  # type: ignore[func-returns-value]  # never true: reload raises
        with pytest.raises(HeadraceError, match="slot"):
            until(lambda: bool(consumer.poll(0.05, 1)) and False)
        assert second.assignment() == {ONE}
        consumer.close()
        poll_some(second)
        assert second.assignment() == {ONE}


def test_a_second_producer_of_a_slot_fences_the_first(harness: Harness, consumer: Consumer, producer: Producer) -> None:
    polled = poll_some(consumer)
    open_unit = producer.unit()
    open_unit.append([new_record("other", "late")])

    with closing(harness.new_broker().producer("slot")) as second:
        with pytest.raises(Fenced):
            open_unit.commit()
        with pytest.raises(Fenced):
            process(producer, polled)
        assert nothing_happened(harness.broker)
        process(second, polled)

    until(lambda: values(read_all(harness.broker, "other")) == ["out"])


def test_a_partition_that_is_not_in_the_token_cannot_be_advanced(
    harness: Harness, consumer: Consumer, producer: Producer
) -> None:
    polled = poll_some(consumer)

    with pytest.raises(Fenced):
        process(producer, polled._replace(records=[polled.records[0]._replace(topic="many")]))


def test_pause_seek_and_position(broker: Broker, consumer: Consumer, producer: Producer) -> None:
    first = poll_some(consumer, 1).records[0]
    assert consumer.position(ONE) == first.offset + 1

    consumer.pause([ONE])
    assert_no_records(consumer)
    consumer.seek(ONE, first.offset)
    assert_no_records(consumer)
    assert consumer.position(ONE) == first.offset
    consumer.resume([ONE])

    assert values(poll_some(consumer).records) == ["a", "b", "c"]


def test_a_paused_partition_does_not_block_the_others(broker: Broker) -> None:
    fill(broker, "many", ["paused"], partition=0)
    fill(broker, "many", ["open"], partition=1)
    with closing(wait_for_partitions(broker.consumer("group", ["many"], "a"), 4)) as consumer:
        consumer.reload()
        consumer.pause([TopicPartition("many", 0)])
        assert values(poll_some(consumer).records) == ["open"]
        assert_no_records(consumer)


def test_the_position_of_an_unassigned_partition_is_fenced(consumer: Consumer) -> None:
    poll_some(consumer)

    with pytest.raises(Fenced):
        consumer.seek(TopicPartition("many", 0), 0)
    with pytest.raises(Fenced):
        consumer.position(TopicPartition("many", 0))


def test_a_unit_may_move_a_position_back(broker: Broker, consumer: Consumer, producer: Producer) -> None:
    polled = poll_some(consumer)
    process(producer, polled)
    consumer.seek(ONE, polled.records[1].offset)
    again = poll_some(consumer, 1)
    process(producer, again)

    until(lambda: broker.committed("group", ["one"]) == next_offsets(again))


def test_a_producer_can_be_used_after_every_end_of_a_unit(broker: Broker, producer: Producer) -> None:
    producer.unit().abort()
    with producer.unit():
        pass
    with pytest.raises(ConfigError):
        put(producer, [new_record("state", "keyed state is set, not appended")])
    put(producer, [new_record("other", "fine")])

    until(lambda: values(read_all(broker, "other")) == ["fine"])
