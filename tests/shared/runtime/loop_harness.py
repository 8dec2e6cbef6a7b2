"""Helpers for tests of loops: a real log, numbered raw events, and a loop in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Protocol
from uuid import NAMESPACE_URL, uuid5

from shared.broker.contract import Broker, NewRecord, Record, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import Timeouts
from shared.events import RawEvent
from shared.records import DecodedRecord, encode
from shared.topics import CLEAN, RAW, partition_of, topic_specs
from tests.waiting import DEADLINE_S

# Long, so that no member loses its partitions on a loaded machine.
LEASE_S = 60.0
TIMEOUTS = Timeouts(lease_s=LEASE_S, renew_s=0.2, stopped_unit_s=2)
PARTITIONS = 2


class Loop(Protocol):
    state: str

    def run(self) -> None: ...

    def stop(self) -> None: ...


def open_broker(url: str) -> PostgresBroker:
    broker = PostgresBroker(url, TIMEOUTS)
    broker.ensure_topics(topic_specs(PARTITIONS))
    return broker


def raw(number: int, key: str = "k") -> NewRecord:
    event = RawEvent(
        source="made-up",
        feed="programs",
        event_key=f"made-up:{key}",
        ordinal=number + 1,
        document_hash="0" * 64,
        url="http://127.0.0.1/",
        fetched_at=datetime(2031, 5, 4, tzinfo=UTC),
        published_at=None,
        historical=False,
        body={},
    )
    return encode(event, RAW, "raw-event/1", uuid5(NAMESPACE_URL, f"{key}/{number}"), "fetcher")


def tp_of(key: str) -> TopicPartition:
    """The partition of the raw events of a key."""
    return TopicPartition(RAW, partition_of(raw(0, key).key, PARTITIONS))


def number_of(received: DecodedRecord) -> int:
    return int(received.message.ordinal) - 1


def output_of(received: DecodedRecord) -> NewRecord:
    return NewRecord(CLEAN, received.record.key, str(number_of(received)).encode(), {})


def append(broker: Broker, records: Sequence[NewRecord]) -> None:
    with closing(broker.producer("appender")) as producer, producer.unit() as unit:
        unit.append(records)
        unit.commit()


def contents(broker: Broker, topic: str) -> list[Record]:
    """All records of a topic by partition and offset."""
    result: list[Record] = []
    for tp in broker.partitions(topic):
        with closing(broker.reader([tp])) as reader:
            while records := reader.poll(0, 1000):
                result += records
    return result


def output_numbers(broker: Broker) -> list[int]:
    return [int(record.value) for record in contents(broker, CLEAN)]


def committed_count(broker: Broker, service: str = "cleaner") -> int:
    """The number of raw events that the service has committed."""
    return sum(broker.committed(service, [RAW]).values())


class LoopThread:
    """A loop in a thread, and the error that ended it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def join(self, timeout_s: float = DEADLINE_S) -> None:
        self.thread.join(timeout_s)
        assert not self.thread.is_alive(), f"the loop did not end within {timeout_s} s"

    def _run(self) -> None:
        try:
            self.loop.run()
        except Exception as error:  # noqa: BLE001  # the test checks it
            self.error = error


@contextmanager
def run_in_thread(loop: Loop) -> Iterator[LoopThread]:
    thread = LoopThread(loop)
    try:
        yield thread
    finally:
        loop.stop()
        thread.join()
