"""The outbox and its relay on real PostgreSQL and Kafka: records are relayed once, even if relays are killed."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from shared.broker.contract import NewRecord, Record
from shared.broker.postgres.log import LOCAL_PREFIX
from shared.runtime.loops.outbox import RELAY, Outbox
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.metrics import Metrics
from shared.settings.sections import KafkaSettings
from shared.topics import LOADED, OUTBOX_CURSORS, OUTBOX_TOPICS, TopicSpec, partition_of
from tests.contract.database import empty_log
from tests.contract.records import read_all, until
from tests.kafka.use import KafkaInUse
from tests.processes import wait_for_line
from tests.shared.runtime.loop_harness import run_in_thread

if TYPE_CHECKING:
    from shared.broker.kafka.broker import KafkaBroker

PARTITIONS = 2
SESSION_S = 4.0
StartRelay = Callable[..., "subprocess.Popen[str]"]
RecordContent = tuple[int, bytes, bytes, dict[str, bytes]]

# The library leaves refused sockets open.
pytestmark = [pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"), pytest.mark.slow]


class OutboxTestbed:
    """A database with an outbox, a Kafka with its topics, and the records written so far."""

    def __init__(self, bootstrap: str, conninfo: str, file: Path) -> None:
        self._kafka = KafkaSettings(environment=uuid4().hex, session_timeout_s=SESSION_S)
        self._url, self._conninfo = f"kafka://{bootstrap}", conninfo
        self.file = file
        file.write_text(json.dumps({"url": self._url, "conninfo": conninfo, "kafka": self._kafka.model_dump()}))
        self.broker = self._connect()
        self.broker.ensure_topics([TopicSpec(name, PARTITIONS) for name in OUTBOX_TOPICS])
        self._written: dict[str, list[NewRecord]] = defaultdict(list)

    def write(self, records: int, topic: str = LOADED, units: int = 1) -> None:
        """Like a loader: in the transaction of its rows."""
        with closing(self.broker.producer("loader-0", in_database=True)) as producer:
            for _ in range(units):
                batch = [self._new(topic, len(self._written[topic]) + each) for each in range(records)]
                with producer.db_unit() as unit:
                    unit.append(batch)
                    unit.commit()
                self._written[topic] += batch

    def relayed_count(self, topic: str = LOADED) -> int:
        return len(read_all(self.broker, topic))

    def stored_batches(self) -> int:
        """The number of batches that are still in the database."""
        with psycopg.connect(self._conninfo) as connection:
            row = connection.execute(
                "SELECT count(*) FROM broker.log l JOIN broker.topics t ON t.id = l.topic_id"
                " WHERE starts_with(t.name, %s)",
                (LOCAL_PREFIX,),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def all_relayed_once(self, topic: str = LOADED) -> bool:
        """Wait until as many records as were written are relayed; assert that they are the same in each partition."""
        written = self._written[topic]
        until(lambda: self.relayed_count(topic) >= len(written))
        relayed = [_content_of(record) for record in read_all(self.broker, topic)]
        expected = [_content_of_new(record) for record in written]
        for p in range(PARTITIONS):
            assert [each for each in relayed if each[0] == p] == [each for each in expected if each[0] == p]
        return True

    @contextmanager
    def relay(self, slot: str = "0") -> Iterator[PollerLoop]:
        """A relay in a thread of the test."""
        with closing(self._connect()) as broker, closing(Outbox(self._conninfo, Metrics())) as source:
            loop = PollerLoop(
                broker, service=RELAY, slot=slot, cursors=OUTBOX_CURSORS, source=source, metrics=Metrics()
            )
            with run_in_thread(loop) as thread:
                yield loop
            assert thread.error is None

    def close(self) -> None:
        self.broker.close()

    def _new(self, topic: str, number: int) -> NewRecord:
        return NewRecord(topic, f"key-{number % 7}".encode(), f"{number}".encode(), {"event_id": f"{number}".encode()})

    def _connect(self) -> KafkaBroker:
        from shared.broker.kafka.broker import KafkaBroker  # loads kafka-python: only after the warning filters

        return KafkaBroker(self._url, self._kafka, self._conninfo)


def _content_of(record: Record) -> RecordContent:
    return record.partition, record.key, record.value, dict(record.headers)


def _content_of_new(record: NewRecord) -> RecordContent:
    return partition_of(record.key, PARTITIONS), record.key, record.value, dict(record.headers)


@pytest.fixture
def outbox(kafka: KafkaInUse, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OutboxTestbed]:
    with (
        empty_log(request.getfixturevalue("postgres")) as conninfo,
        kafka.empty(),
        closing(OutboxTestbed(kafka.bootstrap, conninfo, tmp_path / "outbox.json")) as outbox,
    ):
        yield outbox
    gc.collect()


@pytest.fixture
def start_relay(outbox: OutboxTestbed, repository: Path) -> Iterator[StartRelay]:
    """Starts processes of relay_process.py; kills those that are left at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(slot: str, where: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.shared.runtime.relay_process", str(outbox.file), slot, where]
        processes.append(
            subprocess.Popen(
                command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        kill(process)
        assert process.stdout is not None
        process.stdout.close()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def test_records_written_with_rows_are_relayed_once_in_order_and_unchanged(outbox: OutboxTestbed) -> None:
    outbox.write(500)
    with outbox.relay():
        for topic in OUTBOX_TOPICS:
            outbox.write(5, topic, units=20)
        assert all(outbox.all_relayed_once(topic) for topic in OUTBOX_TOPICS)
        until(lambda: outbox.stored_batches() == 0)


def test_records_rolled_back_with_their_rows_are_not_relayed(outbox: OutboxTestbed) -> None:
    with closing(outbox.broker.producer("loader-0", in_database=True)) as producer:
        unit = producer.db_unit()
        unit.append([NewRecord(LOADED, b"k", b"never", {})])
        unit.abort()

    with outbox.relay():
        outbox.write(3)
        assert outbox.all_relayed_once()


def test_nothing_is_deleted_before_it_is_relayed(outbox: OutboxTestbed) -> None:
    outbox.write(3, units=2)
    before = outbox.stored_batches()

    assert before > 0
    assert outbox.relayed_count() == 0
    with outbox.relay():
        until(lambda: outbox.stored_batches() == 0)
    assert outbox.all_relayed_once()


def test_a_relay_killed_before_it_deleted_what_it_relayed_does_not_relay_it_again(
    outbox: OutboxTestbed, start_relay: StartRelay
) -> None:
    outbox.write(50, units=3)
    process = start_relay("0", "after")
    wait_for_line(process, "stopped")
    kill(process)
    assert outbox.all_relayed_once()
    assert outbox.stored_batches() > 0
    outbox.write(20)

    with outbox.relay():
        assert outbox.all_relayed_once()
        until(lambda: outbox.stored_batches() == 0)


def test_a_relay_killed_inside_a_transaction_is_continued_after_its_last_commit(
    outbox: OutboxTestbed, start_relay: StartRelay
) -> None:
    with outbox.relay():
        outbox.write(30)
        assert outbox.all_relayed_once()
    outbox.write(40, units=2)
    process = start_relay("0", "inside")
    wait_for_line(process, "stopped")
    assert outbox.relayed_count() == 30
    kill(process)
    outbox.write(20)

    with outbox.relay():
        assert outbox.all_relayed_once()
        until(lambda: outbox.stored_batches() == 0)


def test_relays_killed_one_after_the_other_at_any_moment_lose_and_repeat_nothing(
    outbox: OutboxTestbed, start_relay: StartRelay
) -> None:
    for _ in range(3):
        process = start_relay("0", "nowhere")
        wait_for_line(process, "started")
        before = outbox.relayed_count()
        while outbox.relayed_count() == before:
            outbox.write(40, units=5)
        kill(process)

    with outbox.relay():
        assert outbox.all_relayed_once()
        until(lambda: outbox.stored_batches() == 0)


def test_one_relay_stands_by_and_takes_over_when_the_other_ends(outbox: OutboxTestbed) -> None:
    with outbox.relay("b") as second, outbox.relay("a") as first:
        until(lambda: sorted([first.state, second.state]) == ["running", "standing by"])
        outbox.write(20, units=5)
        assert outbox.all_relayed_once()
        active, standby = (first, second) if first.state == "running" else (second, first)
        active.stop()
        outbox.write(20, units=5)

        until(lambda: standby.state == "running")
        assert outbox.all_relayed_once()


def test_one_relay_takes_over_when_the_other_is_killed(outbox: OutboxTestbed, start_relay: StartRelay) -> None:
    process = start_relay("a", "nowhere")
    outbox.write(10)
    assert outbox.all_relayed_once()
    with outbox.relay("b") as second:
        until(lambda: second.state == "standing by")
        kill(process)
        outbox.write(20, units=5)

        until(lambda: second.state == "running")
        assert outbox.all_relayed_once()


def test_a_relay_stopped_inside_a_transaction_is_fenced(outbox: OutboxTestbed, start_relay: StartRelay) -> None:
    outbox.write(30, units=2)
    process = start_relay("a", "inside")
    wait_for_line(process, "stopped")
    with outbox.relay("b"):
        assert outbox.all_relayed_once()

        process.send_signal(signal.SIGCONT)

        wait_for_line(process, "Fenced")
        outbox.write(10)
        assert outbox.all_relayed_once()
