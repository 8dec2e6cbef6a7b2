"""Real services on a broker under test, synthetic raw events for them, and their replays."""

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
from tests.contract.records import read_all, until, write
from tests.services.cleaner.synthetic_slices import card, raw

PARTITIONS = 2
_FIRST_DAY = date(2031, 5, 6)
# 20 venues a day, 12 events each.
_VENUES, _EVENTS = 20, 12


def raw_card(number: int, **fields: Any) -> NewRecord:
    """A raw event that lists the event of this number. Each number is a different event."""
    day = (_FIRST_DAY + timedelta(days=number // (_VENUES * _EVENTS))).isoformat()
    venue, event = 1 + number // _EVENTS % _VENUES, 1 + number % _EVENTS
    body = card(race_date=day, race_stadium_number=venue, race_number=event, race_closed_at=f"{day} 12:34:00", **fields)
    message = raw("programs", body, event_key=f"boatrace:{day}:{venue:02d}:{event:02d}")
    event_id = event_id_of("boatrace", "programs", message.event_key, str(number))
    return encode(message, RAW, "raw-event/1", event_id, "fetcher")


class Pipeline:
    """Services as processes on one broker and one database. A service may have several replicas."""

    def __init__(self, broker: Broker, postgres: EmbeddedPostgres, config: Mapping[str, Any], directory: Path) -> None:
        self.broker = broker
        self._postgres = postgres
        self._config = config
        self._directory = directory
        self._stack = ExitStack()
        self.connection: psycopg.Connection[Any] = self._stack.enter_context(
            psycopg.connect(config["conninfo"], autocommit=True)
        )

    def start(self, service: str, slot: str = "0") -> subprocess.Popen[bytes]:
        """The process ends with the block."""
        database = psycopg.conninfo.conninfo_to_dict(self._config["conninfo"])["dbname"]
        url = f"{self._postgres.url(database=str(database))}&options=-c%20role%3Dheadrace_{service}"
        kafka = {
            f"HEADRACE_KAFKA__{key.upper()}": str(self._config["kafka"][key])
            for key in ("environment", "session_timeout_s")
            if "kafka" in self._config
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
                "HEADRACE_BROKER__URL": self._config.get("url", "embedded"),
                "HEADRACE_DATA_DIR": str(self._directory),
                "HEADRACE_BROKER__PARTITIONS": str(PARTITIONS),
            },
            stdout=log,
            stderr=log,
        )
        self._stack.callback(stop, process)
        return process

    def append(self, records: list[NewRecord]) -> None:
        write(self.broker, records)

    def lag(self, service: str, topic: str) -> int:
        positions = self.broker.committed(service, [topic])
        ends = self.broker.end_offsets(list(positions))
        return sum(ends[tp] - position for tp, position in positions.items())

    def wait_for_progress(self, service: str, topic: str, records: int) -> None:
        """Wait until it has handled that many records (on Kafka, transaction markers count too) and has no lag."""
        until(lambda: sum(self.broker.committed(service, [topic]).values()) >= records)
        # Each partition may keep a lag of one: the marker at the end of a transaction.
        until(lambda: self.lag(service, topic) <= PARTITIONS)

    def plan(self, service: str, topic: str, **fields: Any) -> ReplayPlan:
        return plan_replay(self.broker, request_of({"topic": topic, **fields}), READS[service])

    def start_replay(self, service: str, topic: str, **fields: Any) -> str:
        """Plan and start a replay; returns the id of its operation."""
        plan = self.plan(service, topic, **fields)
        with self.connection.transaction():
            return replays_table.start(self.connection, service, plan, "test", "").id

    def operation(self, operation_id: str) -> Operation:
        operation = operations_table.get(self.connection, operation_id)
        assert operation is not None
        return operation

    def apply_command(self, operation_id: str, command: Command) -> None:
        operations_table.apply_command(self.connection, self.operation(operation_id), command)

    def wait_for_state(self, operation_id: str, state: str) -> Operation:
        until(lambda: self.operation(operation_id).state == state or self._failed(operation_id))
        return self.operation(operation_id)

    def wait_for_half(self, operation_id: str) -> None:
        until(lambda: self.operation(operation_id).progress > 0.3 or self._failed(operation_id))
        assert self.operation(operation_id).progress < 1

    def outputs(self, topic: str, revision: str, count: int) -> Counter[str]:
        """The number of outputs of that replay by event id, once there are `count`."""

        def read() -> Counter[str]:
            return Counter(
                record.headers["event_id"].decode()
                for record in read_all(self.broker, topic)
                if record.headers["revision"].decode() == revision
            )

        until(lambda: read().total() >= count)
        return read()

    def close(self) -> None:
        self._stack.close()

    def _failed(self, operation_id: str) -> bool:
        operation = self.operation(operation_id)
        assert operation.state != "failed", f"{operation.error}; see {self._directory}"
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return list(psutil.Process(process.pid).children())


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def open_pipeline(broker: Broker, postgres: EmbeddedPostgres, config_file: Path) -> Iterator[Pipeline]:
    """A pipeline with empty tables and topics and no open operation."""
    broker.ensure_topics(topic_specs(PARTITIONS))
    config = json.loads(config_file.read_text())
    pipeline = Pipeline(broker, postgres, config, config_file.parent)
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
