"""Relays the outbox to Kafka: the records that services wrote to the database together with their rows.

The outbox consists of the local topics of the embedded log. Their offsets are gapless and become visible in order, so
the progress of the relay is one number per partition. It is written to Kafka in the same transaction as the records
(topic `outbox-cursors`), so a relay that crashes at any moment continues exactly after its last transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing

from shared.broker.connect import connect
from shared.broker.contract import NewRecord, Reader, Record, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.log import LOCAL_PREFIX
from shared.runtime.exit_codes import Background
from shared.runtime.loops.handler import SourceStep
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.metrics import Metrics
from shared.settings.sections import ServiceSettings
from shared.topics import OUTBOX_CURSORS, OUTBOX_TOPICS

BATCH_RECORDS = 2000
RELAY = "relay"


class Outbox:
    """The source of a relay. Deletes the records that are in Kafka."""

    def __init__(self, conninfo: str) -> None:
        self._local = PostgresBroker(conninfo)
        self._reader: Reader | None = None
        self._in_flight: dict[TopicPartition, int] = {}

    def load(self, cursors: Mapping[str, bytes]) -> None:
        self.close()
        tps = [tp for topic in OUTBOX_TOPICS for tp in self._local.partitions(LOCAL_PREFIX + topic)]
        relayed = {tp: int(cursors.get(_key(tp), b"0")) for tp in tps}
        self._local.delete_relayed(relayed)  # a crashed relay may not have deleted what it relayed
        self._reader = self._local.reader(tps)
        for tp, offset in relayed.items():
            self._reader.seek(tp, offset)

    def next(self, timeout_s: float) -> SourceStep | None:
        """The next step. A call implies that the previous step is in Kafka, so its records are deleted."""
        assert self._reader is not None, "call load first"  # noqa: S101
        if self._in_flight:
            self._local.delete_relayed(self._in_flight)
            self._in_flight = {}
        records = self._reader.poll(timeout_s, BATCH_RECORDS)
        if not records:
            return None
        self._in_flight = {TopicPartition(each.topic, each.partition): each.offset + 1 for each in records}
        cursors = {_key(tp): str(offset).encode() for tp, offset in self._in_flight.items()}
        return SourceStep([_kafka_record_of(each) for each in records], cursors)

    def close(self) -> None:
        self._in_flight = {}
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._local.close()


def relay_tasks(settings: ServiceSettings, conninfo: str, metrics: Metrics) -> list[Background]:
    """The relay as a background task, for a broker that has an outbox. It runs in every replica that writes rows; one
    of them is active at a time."""

    def relay(stop: threading.Event) -> None:
        slot = f"{settings.name}-{settings.service.slot}"
        with closing(connect(settings, conninfo)) as broker, closing(Outbox(conninfo)) as outbox:
            PollerLoop(
                broker, service=RELAY, slot=slot, cursors=OUTBOX_CURSORS, source=outbox, metrics=metrics
            ).run_until(stop)

    return [relay]


def _key(tp: TopicPartition) -> str:
    return f"{tp.topic.removeprefix(LOCAL_PREFIX)}/{tp.partition}"


def _kafka_record_of(record: Record) -> NewRecord:
    return NewRecord(
        record.topic.removeprefix(LOCAL_PREFIX), record.key, record.value, record.headers, record.partition
    )
