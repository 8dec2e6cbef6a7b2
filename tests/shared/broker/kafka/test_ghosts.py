"""Ghosts: records of an aborted transaction that became visible, which can happen if a single broker was killed.

Here a plain producer creates them: it writes records a second time. Services deduplicate by event_id and version, so
ghosts change nothing. The tests show this guard, not the fault of the broker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from kafka import KafkaProducer

from services.loader.load import Loader
from services.notifier.notify import Notifier
from shared.broker.contract import NewRecord, Record
from shared.broker.kafka.broker import KafkaBroker
from shared.records import encode
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import DatabaseHandle, InTransaction
from shared.runtime.loops.outbox import Outbox
from shared.runtime.metrics import Metrics
from shared.settings.sections import KafkaSettings
from shared.topics import CLEAN, LOADED, OUTBOX_CURSORS, topic_specs
from tests.contract.records import settle, write
from tests.kafka.use import KafkaInUse
from tests.services.loader.facts import StillClock, at, listed, observed, received, settled
from tests.services.loader.views import ask, tables
from tests.services.notifier.books import book_of
from tests.waiting import DEADLINE_S, wait_until

LOADER_READS, NOTIFIER_READS = (CLEAN,), (LOADED,)
# Every payout causes a notification.
RULES = book_of(
    big_payout={"finding": "big-payout", "markets": ("exacta",), "threshold": 1}, daily={"finding": "daily"}
)


class Pipeline:
    """Loader, relay and notifier on Kafka; the test runs them step by step."""

    def __init__(self, bootstrap: str, conninfo: str) -> None:
        settings = KafkaSettings(environment=uuid4().hex)
        self.broker = KafkaBroker(f"kafka://{bootstrap}", settings, conninfo)
        self.broker.ensure_topics(topic_specs(partitions=1))
        self._plain = KafkaProducer(bootstrap_servers=bootstrap)
        self._outbox = Outbox(conninfo, Metrics())
        self._outbox.load({})
        self.loader = _ServiceLoop(self.broker, "loader", LOADER_READS, Loader(StillClock(at(30)), Metrics()).handle)
        self.notifier = _ServiceLoop(
            self.broker, "notifier", NOTIFIER_READS, Notifier(["console"], StillClock(at(30)), lambda: RULES).handle
        )

    def write_ghosts(self, records: Sequence[Record]) -> int:
        """Write records again without a transaction; returns the offset after the last one."""
        sent = [
            self._plain.send(each.topic, each.value, each.key, list(each.headers.items()), each.partition)
            for each in records
        ]
        return max(int(each.get(DEADLINE_S).offset) for each in sent) + 1

    def relay(self) -> None:
        """Like its loop: records and cursor in one unit, until the outbox is empty."""
        with closing(self.broker.producer("relay")) as producer:
            while (step := self._outbox.next(0.1)) is not None:
                with producer.unit() as unit:
                    unit.append(step.records)
                    for key, value in step.cursors.items():
                        unit.cursor_set(OUTBOX_CURSORS, key, value)
                    unit.commit()
        settle(self.broker, "relay")

    def read(self, topic: str) -> list[Record]:
        """All records that are committed in a topic of one partition."""
        (tp,) = self.broker.partitions(topic)
        end = self.broker.end_offsets([tp])[tp]
        records: list[Record] = []
        with closing(self.broker.reader([tp])) as reader:

            def read_to_the_end() -> bool:
                records.extend(reader.poll(0.2, 1000))
                return reader.position(tp) >= end

            wait_until(read_to_the_end)
        return records

    def close(self) -> None:
        self._plain.close()
        self._outbox.close()
        for part in (self.loader, self.notifier, self.broker):
            part.close()


class _ServiceLoop:
    """A consumer of one partition whose rows commit with its position."""

    def __init__(self, broker: KafkaBroker, service: str, reads: Sequence[str], handle: DatabaseHandle) -> None:
        self._broker, self._service, self._reads = broker, service, reads
        self._loop = ConsumerLoop(
            broker, service=service, slot="0", reads=reads, metrics=Metrics(), handler=InTransaction(handle)
        )
        self._consumer = broker.consumer(service, reads, f"{service}-0", in_database=True)
        self._producer = broker.producer(f"{service}-0", in_database=True)

    def drain(self, to: int) -> None:
        """Handle every record before an offset."""
        wait_until(lambda: self._loop.step(self._consumer, self._producer) >= 0 and self._position() >= to)

    def _position(self) -> int:
        return min(self._broker.committed(self._service, self._reads).values())

    def close(self) -> None:
        self._consumer.close()
        self._producer.close()


@pytest.fixture
def pipeline(kafka: KafkaInUse, database_url: str) -> Iterator[Pipeline]:
    with kafka.empty(), closing(Pipeline(kafka.bootstrap, database_url)) as pipeline:
        yield pipeline


def clean_records() -> list[NewRecord]:
    """The facts of three events, from card to result."""
    facts: list[Any] = [fact(number) for fact in (listed, observed, settled) for number in (1, 2, 3)]
    return [encode(fact, CLEAN, "clean-event/1", received(fact).event_id, "cleaner") for fact in facts]


def end_of(records: Sequence[Record]) -> int:
    return records[-1].offset + 1


def ledger_rows(database: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return ask(database, "SELECT record_id, rule, channel, state, text FROM notifier.ledger ORDER BY id")


def test_ghosts_change_no_row_and_cause_no_output_and_no_notification(
    pipeline: Pipeline, database: psycopg.Connection[Any]
) -> None:
    write(pipeline.broker, clean_records())
    clean = pipeline.read(CLEAN)
    pipeline.loader.drain(end_of(clean))
    pipeline.relay()
    loaded = pipeline.read(LOADED)
    pipeline.notifier.drain(end_of(loaded))
    rows_before, ledger_before = tables(database), ledger_rows(database)
    assert len(clean) == len(loaded) == 9
    assert {rule for _, rule, *_ in ledger_before} >= {"big-payout"}

    pipeline.loader.drain(pipeline.write_ghosts(clean))
    pipeline.relay()
    outputs = pipeline.read(LOADED)
    pipeline.notifier.drain(pipeline.write_ghosts(loaded))

    assert len(pipeline.read(CLEAN)) == 2 * len(clean)
    assert outputs == loaded
    assert tables(database) == rows_before
    assert ledger_rows(database) == ledger_before


def test_a_ghost_of_a_corrected_result_does_not_restore_the_old_one(
    pipeline: Pipeline, database: psycopg.Connection[Any]
) -> None:
    first = settled(1)
    corrected = settled(1, known=40, technique=2)
    facts: list[Any] = [listed(1), first, corrected]
    write(pipeline.broker, [encode(fact, CLEAN, "clean-event/1", received(fact).event_id, "cleaner") for fact in facts])
    clean = pipeline.read(CLEAN)
    pipeline.loader.drain(end_of(clean))
    rows_before = tables(database)

    pipeline.loader.drain(pipeline.write_ghosts(clean[1:2]))

    assert tables(database) == rows_before
    assert ask(database, "SELECT technique FROM facts.events") == [(2,)]
