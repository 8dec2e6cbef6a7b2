"""A record whose output is too large becomes a dead letter, on both brokers; the others are handled."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from shared.broker.contract import NewRecord
from shared.broker.record_size import MAX_RECORD_BYTES, SizeLimits, size_of
from shared.errors import InvalidEvent, RecordTooLarge
from shared.ops.dead_letters import letter_of
from shared.records import DecodedRecord
from shared.runtime.loops.handler import InUnit
from shared.topics import CLEAN, RAW
from tests.either_broker import BROKERS, OpenBroker, records_of, run_broker
from tests.shared.runtime.loop_harness import append, number_of, output_of, raw, run_in_thread
from tests.shared.runtime.loops.consumer_loops import loop_of
from tests.waiting import wait_until

COUNT, LARGE = 40, 17


@pytest.fixture(params=BROKERS)
def open_broker(request: pytest.FixtureRequest, database_url: str) -> Iterator[OpenBroker]:
    with run_broker(request, database_url) as open_broker:
        yield open_broker


def growing(size: int) -> InUnit:
    """A handler whose output for one of the records has a value of this size. It cannot be compressed."""

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        return [
            NewRecord(CLEAN, b"k", noise(size), {}) if number_of(each) == LARGE else output_of(each) for each in batch
        ]

    return InUnit(handle)


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def test_a_record_with_the_largest_output_is_handled_and_one_with_a_larger_output_is_a_dead_letter(
    open_broker: OpenBroker,
) -> None:
    broker = open_broker()
    append(broker, [raw(number) for number in range(COUNT)])
    largest = MAX_RECORD_BYTES - size_of(NewRecord(CLEAN, b"k", b"", {}))
    with run_in_thread(loop_of(broker, handler=growing(largest))) as thread:
        wait_until(lambda: sum(broker.committed("cleaner", [RAW]).values()) >= COUNT)
        assert thread.error is None
    assert (len(records_of(broker, CLEAN)), records_of(broker, "cleaner.dlq")) == (COUNT, [])

    append(broker, [raw(number, "other") for number in range(COUNT)])
    with run_in_thread(loop_of(broker, handler=growing(largest + 1))) as thread:
        wait_until(lambda: len(records_of(broker, CLEAN)) == 2 * COUNT - 1)
        assert thread.error is None

    (letter,) = map(letter_of, records_of(broker, "cleaner.dlq"))
    assert (letter.cause, letter.cut) == ("InvalidEvent", False)
    assert f"the topic accepts at most {MAX_RECORD_BYTES:,}" in letter.message


def test_a_record_too_large_for_its_dead_letter_is_cut(open_broker: OpenBroker) -> None:
    """A record of the largest size that cannot be handled: with the headers about its failure it exceeds the limit."""
    broker = open_broker()
    good = raw(1)
    value = noise(MAX_RECORD_BYTES - size_of(good._replace(value=b"")))
    append(broker, [raw(0), good._replace(value=value), raw(2)])

    with run_in_thread(loop_of(broker, handler=growing(1))) as thread:
        wait_until(lambda: len(records_of(broker, CLEAN)) == 2)
        assert thread.error is None

    (record,) = records_of(broker, "cleaner.dlq")
    letter = letter_of(record)
    assert (letter.stage, letter.cut, letter.original_size_bytes) == ("decode", True, len(value))
    assert value.startswith(record.value)
    assert "(the value is cut to" in letter.message


def test_a_limit_that_the_broker_lowered_is_learned_from_its_refusal() -> None:
    limits, output = SizeLimits(), NewRecord(CLEAN, b"k", b"v" * 5000, {})
    limits.require_fitting([output])

    limits.learn(RecordTooLarge(CLEAN, size_of(output), "refused"), cuts=False)

    with pytest.raises(InvalidEvent, match="has 5,001 bytes, but the topic accepts at most 5,000"):
        limits.require_fitting([output])
    limits.require_fitting([output._replace(topic=RAW), output._replace(value=b"v" * 4999)])


def test_a_dead_letter_that_the_broker_refuses_is_cut_to_half() -> None:
    limits = SizeLimits()

    for size in (1_000_000, 500_000):
        limits.learn(RecordTooLarge("cleaner.dlq", size, "refused"), cuts=True)

    assert limits.of("cleaner.dlq") == 250_000


def test_a_topic_of_kafka_with_a_lower_limit_stops_no_loop(open_broker: OpenBroker) -> None:
    broker = open_broker()
    if broker.gapless:
        pytest.skip("the embedded log has no limit of its own")
    from kafka import KafkaAdminClient
    from kafka.admin import ConfigResource, ConfigResourceType

    settings = {"max.message.bytes": str(1024 * 1024)}
    prefix = broker._topics  # type: ignore[attr-defined]
    with closing(KafkaAdminClient(bootstrap_servers=prefix._admin.config["bootstrap_servers"])) as admin:
        for topic in (CLEAN, "cleaner.dlq"):
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])
    append(broker, [raw(number) for number in range(COUNT)])

    with run_in_thread(loop_of(broker, handler=growing(2 * 1024 * 1024))) as thread:
        wait_until(lambda: len(records_of(broker, CLEAN)) == COUNT - 1)
        assert thread.error is None

    (letter,) = map(letter_of, records_of(broker, "cleaner.dlq"))
    assert letter.cause == "InvalidEvent"
