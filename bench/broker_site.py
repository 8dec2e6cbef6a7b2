"""A broker to measure, and what is written to it."""

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
# A unit of the consumer loop when it is behind.
MOST = 2000
# A small message of ours, 230 bytes, as it would be on the wire.
VALUE = (
    b'{"schema_version":1,"source":"bench","event_key":"bench:2031-05-04:03:07","kind":"settled","version":2,'
    b'"known_at":"2031-05-04T05:40:00Z","scheduled_at":"2031-05-04T05:12:00Z","status":"settled","row_id":4711,'
    b'"changed":["transactions.win.1"]}'
)
HEADERS = headers_of(uuid4(), "loaded-event/1", "bench", "bench")


@dataclass(frozen=True)
class Site:
    """How processes get to a broker. `url` is of broker.url; `pid` of the server, where it is ours."""

    name: str
    url: str
    conninfo: str
    pid: int | None

    def broker(self) -> Broker:
        return connect(Settings(broker=BrokerSettings(url=self.url)), self.conninfo)

    @property
    def marker(self) -> int:
        """Offsets that the end of a transaction takes in each partition it wrote to."""
        return 0 if self.url == "embedded" else 1

    def server_cpu_s(self) -> float:
        """Of the broker's processes so far; 0 where they are not ours to ask."""
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
        for start in range(0, records, MOST):
            with producer.unit() as unit:
                unit.append([record(topic, start + number) for number in range(MOST)])
                unit.commit()
