"""Small records, and helpers that append and read them with a deadline."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from shared.broker.contract import Broker, Consumer, NewRecord, PollResult, Producer, Record, TopicPartition, Unit
from shared.errors import TransientError
from tests.waiting import DEADLINE_S, wait_until


def new_record(topic: str, value: str, key: str = "k", partition: int | None = None) -> NewRecord:
    return NewRecord(topic, key.encode(), value.encode(), {"n": value.encode()}, partition)


def put(producer: Producer, records: Sequence[NewRecord]) -> None:
    with producer.unit() as unit:
        unit.append(records)
        unit.commit()


def write(broker: Broker, *units: Sequence[NewRecord], slot: str = "filler") -> None:
    """Append units of records, and wait until readers see them."""
    with closing(broker.producer(slot)) as producer:
        for records in units:
            put(producer, records)
    settle(broker, slot)


def settle(broker: Broker, slot: str) -> None:
    """Wait until the last unit of a slot is visible or aborted. Kafka answers a commit before its records are visible;
    the slot's next producer waits until they are."""
    broker.producer(slot).close()


def fill(broker: Broker, topic: str, values: Sequence[str], key: str = "k", partition: int | None = None) -> None:
    write(broker, [new_record(topic, value, key, partition) for value in values])


def values(records: Sequence[Record]) -> list[str]:
    return [record.value.decode() for record in records]


def read_all(broker: Broker, topic: str) -> list[Record]:
    """All records that are committed in a topic now, by partition and offset."""
    tps = broker.partitions(topic)
    begins, ends = broker.begin_offsets(tps), broker.end_offsets(tps)
    records: list[Record] = []
    with closing(broker.reader(tps)) as reader:
        for tp in tps:
            reader.seek(tp, begins[tp])

        def read_to_the_end() -> bool:
            if all(reader.position(tp) >= end for tp, end in ends.items()):
                return True
            records.extend(reader.poll(0.2, 1000))
            return False

        wait_until(read_to_the_end)
    return sorted(
        (record for record in records if record.offset < ends[TopicPartition(record.topic, record.partition)]),
        key=lambda record: (record.partition, record.offset),
    )


def wait_for_records(broker: Broker, topic: str, count: int) -> list[Record]:
    """Everything, once there are that many records: a commit becomes visible with a delay."""
    until(lambda: len(read_all(broker, topic)) >= count)
    return read_all(broker, topic)


def poll_some(consumer: Consumer, max_records: int = 1000) -> PollResult:
    """The first poll that returns records."""

    def poll() -> PollResult | None:
        polled = consumer.poll(0.2, max_records)
        return polled if polled.records else None

    return wait_until(poll, "a poll with records")


def assert_no_records(consumer: Consumer, for_s: float = 0.4) -> None:
    assert consumer.poll(for_s, 1000).records == []


def wait_for_partitions(consumer: Consumer, count: int, deadline_s: float = DEADLINE_S) -> Consumer:
    """The consumer, once it owns that many partitions."""

    def owns() -> bool:
        token = consumer.poll(0.02, 1).token
        return token.partitions == consumer.assignment() and len(consumer.assignment()) == count

    until(owns, deadline_s)
    return consumer


def until(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition; transient errors count as "not yet"."""
    wait_until(condition, deadline_s=deadline_s, forgive=TransientError)


def next_offsets(polled: PollResult) -> dict[TopicPartition, int]:
    return {TopicPartition(record.topic, record.partition): record.offset + 1 for record in polled.records}


def advance(unit: Unit, polled: PollResult) -> None:
    unit.advance(polled.token, next_offsets(polled))


def wait_for_prompt_wake_ups(consumer: Consumer, producer: Producer) -> None:
    """Wait until twenty idle polls wake up at once (median). A poll that only checks periodically takes a quarter of a
    second. The measurement is repeated, because a loaded machine may delay some polls."""
    wait_until(lambda: _median_wake_up_s(consumer, producer, 20) < 0.05, "an idle poll that wakes up at once")


def _median_wake_up_s(consumer: Consumer, producer: Producer, polls: int) -> float:
    """Median time from the return of a commit to `one` to the return of the idle poll with its record."""
    waits_s = []
    for number in range(polls):
        committed_at: list[float] = []

        def commit(text: str = str(number), times: list[float] = committed_at) -> None:
            time.sleep(0.03)  # the poll must be waiting by then: an idle poll is measured
            put(producer, [new_record("one", text)])
            times.append(time.perf_counter())

        thread = threading.Thread(target=commit)
        thread.start()
        polled = consumer.poll(DEADLINE_S, 10)
        woken_at = time.perf_counter()
        thread.join()
        assert values(polled.records) == [str(number)]
        waits_s.append(max(0.0, woken_at - committed_at[0]))
    return statistics.median(waits_s)
