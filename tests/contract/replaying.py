"""Real services on a broker under test, made-up raw events for them, and replays that are looked at from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg

from headrace.database.embedded import OWNER, EmbeddedPostgres
from shared.broker.contract import Broker, NewRecord
from shared.events import event_id_of
from shared.ops.operations import Command, Operation
from shared.ops.replay_planning import plan_replay
from shared.ops.replays import ReplayPlan, request_of
from shared.ops.tables import operations as operations_table
from shared.ops.tables import replays as replays_table
from shared.records import encode
from shared.topics import RAW, READS, topic_specs
from tests.contract.records import everything, put, until
from tests.services.cleaner.made import card, raw

PARTITIONS = 2
_FIRST_DAY = date(2031, 5, 6)
# 20 venues a day, 12 events each.
_VENUES, _EVENTS = 20, 12


def raw_card(number: int, **given: Any) -> NewRecord:
    """A raw event that lists the event of this number; every number is another event."""
    day = (_FIRST_DAY + timedelta(days=number // (_VENUES * _EVENTS))).isoformat()
    venue, event = 1 + number // _EVENTS % _VENUES, 1 + number % _EVENTS
    body = card(race_date=day, race_stadium_number=venue, race_number=event, race_closed_at=f"{day} 12:34:00", **given)
    message = raw("programs", body, event_key=f"boatrace:{day}:{venue:02d}:{event:02d}")
    event_id = event_id_of("boatrace", "programs", message.event_key, str(number))
    return encode(message, RAW, "raw-event/1", event_id, "fetcher")


class Pipeline:
    """Services as processes on one broker and one database, each as many times as it is started."""

    def __init__(self, broker: Broker, postgres: EmbeddedPostgres, told: Mapping[str, Any], directory: Path) -> None:
        self.broker = broker
        self._postgres = postgres
        self._told = told
        self._directory = directory
        self._stack = ExitStack()
        self.connection: psycopg.Connection[Any] = self._stack.enter_context(
            psycopg.connect(told["conninfo"], autocommit=True)
        )

    def start(self, service: str, slot: str = "0") -> subprocess.Popen[bytes]:
        """Ends with the block, however it is left."""
        database = psycopg.conninfo.conninfo_to_dict(self._told["conninfo"])["dbname"]
        url = f"{self._postgres.url(database=str(database))}&options=-c%20role%3Dheadrace_{service}"
        kafka = {
            f"HEADRACE_KAFKA__{key.upper()}": str(self._told["kafka"][key])
            for key in ("environment", "session_timeout_s")
            if "kafka" in self._told
        }
        log = self._stack.enter_context((self._directory / f"{service}-{slot}.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{service}"],
            env={
                **os.environ,
                **kafka,
                "HEADRACE_DATABASE__URL": url,
                "HEADRACE_SERVICE__SLOT": slot,
                "HEADRACE_DATABASE__PASSWORD_FILE": str(self._postgres.password_file(OWNER)),
                "HEADRACE_BROKER__URL": self._told.get("url", "embedded"),
                "HEADRACE_DATA_DIR": str(self._directory),
                "HEADRACE_BROKER__PARTITIONS": str(PARTITIONS),
            },
            stdout=log,
            stderr=log,
        )
        self._stack.callback(end, process)
        return process

    def append(self, records: list[NewRecord]) -> None:
        producer = self.broker.producer("filler")
        try:
            put(producer, records)
        finally:
            producer.close()

    def lag(self, service: str, topic: str) -> int:
        positions = self.broker.committed(service, [topic])
        ends = self.broker.end_offsets(list(positions))
        return sum(ends[tp] - position for tp, position in positions.items())

    def caught_up(self, service: str, topic: str, records: int) -> None:
        """It has handled that many (on Kafka, ends of transactions count as well) and nothing waits."""
        until(lambda: sum(self.broker.committed(service, [topic]).values()) >= records)
        # What stays is the end of a transaction, of which each partition has one at most.
        until(lambda: self.lag(service, topic) <= PARTITIONS)

    def planned(self, service: str, topic: str, **asked: Any) -> ReplayPlan:
        return plan_replay(self.broker, request_of({"topic": topic, **asked}), READS[service])

    def replay(self, service: str, topic: str, **asked: Any) -> str:
        """Planned and started; its operation's id."""
        planned = self.planned(service, topic, **asked)
        with self.connection.transaction():
            return replays_table.start(self.connection, service, planned, "test", "").id

    def operation(self, operation_id: str) -> Operation:
        found = operations_table.get(self.connection, operation_id)
        assert found is not None
        return found

    def say(self, operation_id: str, said: Command) -> None:
        operations_table.apply_command(self.connection, self.operation(operation_id), said)

    def reached(self, operation_id: str, state: str) -> Operation:
        until(lambda: self.operation(operation_id).state == state or self._failed(operation_id))
        return self.operation(operation_id)

    def half_way(self, operation_id: str) -> None:
        until(lambda: self.operation(operation_id).progress > 0.3 or self._failed(operation_id))
        assert self.operation(operation_id).progress < 1

    def outputs(self, topic: str, revision: str) -> Counter[str]:
        """How often each event id came out of that replay."""
        return Counter(
            record.headers["event_id"].decode()
            for record in everything(self.broker, topic)
            if record.headers["revision"].decode() == revision
        )

    def close(self) -> None:
        self._stack.close()

    def _failed(self, operation_id: str) -> bool:
        operation = self.operation(operation_id)
        assert operation.state != "failed", f"{operation.error}; see {self._directory}"
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return list(psutil.Process(process.pid).children())


def killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def pipeline_on(broker: Broker, postgres: EmbeddedPostgres, url_file: Path) -> Iterator[Pipeline]:
    """With nothing in its tables and topics, and no operation open."""
    broker.ensure_topics(topic_specs(PARTITIONS))
    told = json.loads(url_file.read_text())
    pipeline = Pipeline(broker, postgres, told, url_file.parent)
    try:
        pipeline.connection.execute("TRUNCATE ops.operations, ops.plans, ops.replicas, ops.observed")
        facts = pipeline.connection.execute(
            "SELECT string_agg(format('facts.%I', tablename), ', ') FROM pg_tables WHERE schemaname = 'facts'"
        ).fetchone()
        assert facts is not None
        pipeline.connection.execute(f"TRUNCATE {facts[0]} RESTART IDENTITY CASCADE")
        yield pipeline
    finally:
        pipeline.close()
