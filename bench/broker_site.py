"""The brokers to measure, and the records that are written to them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from uuid import uuid4

import psutil

from shared.broker.connect import connect
from shared.broker.contract import Broker, NewRecord
from shared.records import headers_of
from shared.settings.sections import BrokerSettings, Settings
from shared.topics import TopicSpec

PARTITIONS = 6
# Records in a unit of the consumer loop when it lags.
MAX_UNIT_RECORDS = 2000
# A small encoded message of 230 bytes.
VALUE = (
    b'{"schema_version":1,"source":"bench","event_key":"bench:2031-05-04:03:07","kind":"settled","version":2,'
    b'"known_at":"2031-05-04T05:40:00Z","scheduled_at":"2031-05-04T05:12:00Z","status":"settled","row_id":4711,'
    b'"changed":["transactions.win.1"]}'
)
HEADERS = headers_of(uuid4(), "loaded-event/1", "bench", "bench")


@dataclass(frozen=True)
class BrokerSite:
    """How to connect to a broker. `url` is a value of broker.url; `pid` is the server's, if this program started it."""

    name: str
    url: str
    conninfo: str
    pid: int | None

    def broker(self) -> Broker:
        return connect(Settings(broker=BrokerSettings(url=self.url)), self.conninfo)

    @property
    def marker(self) -> int:
        """Offsets that a transaction marker takes in each partition of the transaction."""
        return 0 if self.url == "embedded" else 1

    def server_cpu_s(self) -> float:
        """CPU time of the broker's processes so far; 0 for a broker that this program did not start."""
        if self.pid is None:
            return 0.0
        server = psutil.Process(self.pid)
        return cpu_s(server) + sum(cpu_s(child) for child in server.children(recursive=True))


def cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def new_topic(broker: Broker) -> str:
    name = f"bench-{uuid4().hex}"
    broker.ensure_topics([TopicSpec(name, PARTITIONS, None)])
    return name


def record(topic: str, number: int) -> NewRecord:
    return NewRecord(topic, b"bench:%d" % (number % 997), VALUE, HEADERS)


def fill(broker: Broker, topic: str, records: int) -> None:
    with closing(broker.producer(f"fill-{topic}")) as producer:
        for start in range(0, records, MAX_UNIT_RECORDS):
            with producer.unit() as unit:
                unit.append([record(topic, start + number) for number in range(MAX_UNIT_RECORDS)])
                unit.commit()
