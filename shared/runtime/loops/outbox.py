"""The outbox: what services wrote to the database together with their rows, on its way into Kafka.

It lies in the embedded log, in the local parts of its topics. Offsets there are gapless and become visible in order,
so "relayed up to here" is one number per partition; that number is written to Kafka in the same transaction as the
records (topic `outbox-cursors`). A relay that dies at any moment is taken up exactly where its last transaction ended.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing

from shared.broker.connect import connect
from shared.broker.contract import NewRecord, Reader, Record, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.log import LOCAL
from shared.runtime.exit_codes import Background
from shared.runtime.loops.handler import Step
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.metrics import Metrics
from shared.settings.sections import ServiceSettings
from shared.topics import OUTBOX_CURSORS, WRITTEN_WITH_ROWS

BATCH_RECORDS = 2000
RELAY = "relay"


class Outbox:
    """The source that a relay drives. What is known to be in Kafka is thrown away here."""

    def __init__(self, conninfo: str) -> None:
        self._local = PostgresBroker(conninfo)
        self._reader: Reader | None = None
        self._on_its_way: dict[TopicPartition, int] = {}

    def load(self, cursors: Mapping[str, bytes]) -> None:
        self.close()
        tps = [tp for topic in WRITTEN_WITH_ROWS for tp in self._local.partitions(LOCAL + topic)]
        relayed = {tp: int(cursors.get(_key(tp), b"0")) for tp in tps}
        self._local.forget(relayed)  # a relay that died may have left what it carried
        self._reader = self._local.reader(tps)
        for tp, offset in relayed.items():
            self._reader.seek(tp, offset)

    def next(self, timeout_s: float) -> Step | None:
        """Asked for again, the step before is in Kafka."""
        assert self._reader is not None, "load comes first"  # noqa: S101
        if self._on_its_way:
            self._local.forget(self._on_its_way)
            self._on_its_way = {}
        records = self._reader.poll(timeout_s, BATCH_RECORDS)
        if not records:
            return None
        self._on_its_way = {TopicPartition(each.topic, each.partition): each.offset + 1 for each in records}
        cursors = {_key(tp): str(offset).encode() for tp, offset in self._on_its_way.items()}
        return Step([_relayed(each) for each in records], cursors)

    def close(self) -> None:
        self._on_its_way = {}
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._local.close()


def relays(settings: ServiceSettings, conninfo: str, metrics: Metrics) -> list[Background]:
    """Relaying as work beside a loop, for a broker that has an outbox: every replica that writes rows offers it, one at
    a time does it."""

    def relay(stop: threading.Event) -> None:
        slot = f"{settings.name}-{settings.service.slot}"
        with closing(connect(settings, conninfo)) as broker, closing(Outbox(conninfo)) as outbox:
            PollerLoop(
                broker, service=RELAY, slot=slot, cursors=OUTBOX_CURSORS, source=outbox, metrics=metrics
            ).run_until(stop)

    return [relay]


def _key(tp: TopicPartition) -> str:
    return f"{tp.topic.removeprefix(LOCAL)}/{tp.partition}"


def _relayed(record: Record) -> NewRecord:
    return NewRecord(record.topic.removeprefix(LOCAL), record.key, record.value, record.headers, record.partition)
