"""The outbox and its relay, on a real PostgreSQL and a real Kafka: everything arrives once, whoever dies when."""

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
from tests.contract.children import said
from tests.contract.database import empty_log
from tests.contract.records import everything, until
from tests.kafka.use import KafkaInUse
from tests.shared.runtime.stage import running

if TYPE_CHECKING:
    from shared.broker.kafka.broker import KafkaBroker

PARTITIONS = 2
SESSION_S = 4.0
Child = Callable[..., "subprocess.Popen[str]"]
Told = tuple[int, bytes, bytes, dict[str, bytes]]

# The library leaves a socket open that was refused.
pytestmark = [pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"), pytest.mark.slow]


class Pipe:
    """A database with an outbox, a Kafka with its topics, and what was written so far."""

    def __init__(self, bootstrap: str, conninfo: str, file: Path) -> None:
        self._kafka = KafkaSettings(environment=uuid4().hex, session_timeout_s=SESSION_S)
        self._url, self._conninfo = f"kafka://{bootstrap}", conninfo
        self.file = file
        file.write_text(json.dumps({"url": self._url, "conninfo": conninfo, "kafka": self._kafka.model_dump()}))
        self.broker = self._connect()
        self.broker.ensure_topics([TopicSpec(name, PARTITIONS) for name in OUTBOX_TOPICS])
        self._written: dict[str, list[NewRecord]] = defaultdict(list)

    def write(self, records: int, topic: str = LOADED, units: int = 1) -> None:
        """As a loader does: in the transaction of its rows."""
        with closing(self.broker.producer("loader-0", in_database=True)) as producer:
            for _ in range(units):
                batch = [self._new(topic, len(self._written[topic]) + each) for each in range(records)]
                with producer.db_unit() as unit:
                    unit.append(batch)
                    unit.commit()
                self._written[topic] += batch

    def arrived(self, topic: str = LOADED) -> int:
        return len(everything(self.broker, topic))

    def waiting(self) -> int:
        """Batches in the database that were not thrown away yet."""
        with psycopg.connect(self._conninfo) as connection:
            found = connection.execute(
                "SELECT count(*) FROM broker.log l JOIN broker.topics t ON t.id = l.topic_id"
                " WHERE starts_with(t.name, %s)",
                (LOCAL_PREFIX,),
            ).fetchone()
        assert found is not None
        return int(found[0])

    def all_arrived_once(self, topic: str = LOADED) -> bool:
        """Waits for as many as were written, then wants them to be the same ones, in each partition's order."""
        written = self._written[topic]
        until(lambda: self.arrived(topic) >= len(written))
        found = [_told(record) for record in everything(self.broker, topic)]
        expected = [_told_new(record) for record in written]
        for p in range(PARTITIONS):
            assert [each for each in found if each[0] == p] == [each for each in expected if each[0] == p]
        return True

    @contextmanager
    def relay(self, slot: str = "0") -> Iterator[PollerLoop]:
        """One that runs in a thread of ours."""
        with closing(self._connect()) as broker, closing(Outbox(self._conninfo)) as outbox:
            loop = PollerLoop(
                broker, service=RELAY, slot=slot, cursors=OUTBOX_CURSORS, source=outbox, metrics=Metrics()
            )
            with running(loop) as thread:
                yield loop
            assert thread.died_of is None

    def close(self) -> None:
        self.broker.close()

    def _new(self, topic: str, number: int) -> NewRecord:
        return NewRecord(topic, f"key-{number % 7}".encode(), f"{number}".encode(), {"event_id": f"{number}".encode()})

    def _connect(self) -> KafkaBroker:
        from shared.broker.kafka.broker import KafkaBroker  # loads kafka-python: once its warnings are settled

        return KafkaBroker(self._url, self._kafka, self._conninfo)


def _told(record: Record) -> Told:
    return record.partition, record.key, record.value, dict(record.headers)


def _told_new(record: NewRecord) -> Told:
    return partition_of(record.key, PARTITIONS), record.key, record.value, dict(record.headers)


@pytest.fixture
def pipe(kafka: KafkaInUse, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pipe]:
    with (
        empty_log(request.getfixturevalue("postgres")) as conninfo,
        kafka.empty(),
        closing(Pipe(kafka.bootstrap, conninfo, tmp_path / "pipe.json")) as pipe,
    ):
        yield pipe
    gc.collect()


@pytest.fixture
def child(pipe: Pipe, repository: Path) -> Iterator[Child]:
    """Starts processes of relaying.py; what is still there at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(slot: str, where: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.shared.runtime.relaying", str(pipe.file), slot, where]
        started.append(
            subprocess.Popen(
                command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
            )
        )
        return started[-1]

    yield start
    for process in started:
        end(process)
        assert process.stdout is not None
        process.stdout.close()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def test_records_written_with_rows_are_relayed_once_in_order_and_unchanged(pipe: Pipe) -> None:
    pipe.write(500)
    with pipe.relay():
        for topic in OUTBOX_TOPICS:
            pipe.write(5, topic, units=20)
        assert all(pipe.all_arrived_once(topic) for topic in OUTBOX_TOPICS)
        until(lambda: pipe.waiting() == 0)


def test_records_rolled_back_with_their_rows_are_not_relayed(pipe: Pipe) -> None:
    with closing(pipe.broker.producer("loader-0", in_database=True)) as producer:
        unit = producer.db_unit()
        unit.append([NewRecord(LOADED, b"k", b"never", {})])
        unit.abort()

    with pipe.relay():
        pipe.write(3)
        assert pipe.all_arrived_once()


def test_nothing_is_deleted_before_it_is_relayed(pipe: Pipe) -> None:
    pipe.write(3, units=2)
    before = pipe.waiting()

    assert before > 0
    assert pipe.arrived() == 0
    with pipe.relay():
        until(lambda: pipe.waiting() == 0)
    assert pipe.all_arrived_once()


def test_a_relay_killed_before_it_deleted_what_it_relayed_does_not_relay_it_again(pipe: Pipe, child: Child) -> None:
    pipe.write(50, units=3)
    process = child("0", "after")
    said(process, "stopped")
    end(process)
    assert pipe.all_arrived_once()
    assert pipe.waiting() > 0
    pipe.write(20)

    with pipe.relay():
        assert pipe.all_arrived_once()
        until(lambda: pipe.waiting() == 0)


def test_a_relay_killed_inside_a_transaction_is_continued_after_its_last_commit(pipe: Pipe, child: Child) -> None:
    with pipe.relay():
        pipe.write(30)
        assert pipe.all_arrived_once()
    pipe.write(40, units=2)
    process = child("0", "inside")
    said(process, "stopped")
    assert pipe.arrived() == 30
    end(process)
    pipe.write(20)

    with pipe.relay():
        assert pipe.all_arrived_once()
        until(lambda: pipe.waiting() == 0)


def test_relays_killed_one_after_the_other_at_any_moment_lose_and_repeat_nothing(pipe: Pipe, child: Child) -> None:
    for _ in range(3):
        process = child("0", "nowhere")
        said(process, "started")
        before = pipe.arrived()
        while pipe.arrived() == before:
            pipe.write(40, units=5)
        end(process)

    with pipe.relay():
        assert pipe.all_arrived_once()
        until(lambda: pipe.waiting() == 0)


def test_one_relay_stands_by_and_takes_over_when_the_other_ends(pipe: Pipe) -> None:
    with pipe.relay("b") as second, pipe.relay("a") as first:
        until(lambda: sorted([first.state, second.state]) == ["running", "standing by"])
        pipe.write(20, units=5)
        assert pipe.all_arrived_once()
        running_one, other = (first, second) if first.state == "running" else (second, first)
        running_one.stop()
        pipe.write(20, units=5)

        until(lambda: other.state == "running")
        assert pipe.all_arrived_once()


def test_one_relay_takes_over_when_the_other_is_killed(pipe: Pipe, child: Child) -> None:
    process = child("a", "nowhere")
    pipe.write(10)
    assert pipe.all_arrived_once()
    with pipe.relay("b") as second:
        until(lambda: second.state == "standing by")
        end(process)
        pipe.write(20, units=5)

        until(lambda: second.state == "running")
        assert pipe.all_arrived_once()


def test_a_relay_stopped_inside_a_transaction_is_fenced(pipe: Pipe, child: Child) -> None:
    pipe.write(30, units=2)
    process = child("a", "inside")
    said(process, "stopped")
    with pipe.relay("b"):
        assert pipe.all_arrived_once()

        process.send_signal(signal.SIGCONT)

        said(process, "Fenced")
        pipe.write(10)
        assert pipe.all_arrived_once()
