"""The servers of the benchmark: one PostgreSQL and one Kafka for all loaders, with a new database for each.

PostgreSQL has the settings of `headrace run`, and listens on loopback, because JDBC knows no Unix sockets.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import psutil
import psycopg

from bench.kafka_server import RunningKafka, running_kafka
from bench.load.records import LoadedContent, make_records
from bench.scale_site import FailedMeasurement, tree_cpu_s
from headrace.database.embedded import OWNER, EmbeddedPostgres
from shared.broker.contract import Broker

POLL_INTERVAL_S = 0.5
GIVE_UP_S = 900.0
UNIT_RECORDS = 2000


@dataclass(frozen=True)
class LoadCost:
    """What loading all records took: seconds of the wall clock, and CPU seconds of the loader and of PostgreSQL."""

    records: int
    elapsed_s: float
    loader_cpu_s: float
    postgres_cpu_s: float


@dataclass(frozen=True)
class TargetDatabase:
    """A new database; `place` is a folder for the files of one measurement."""

    server: EmbeddedPostgres
    name: str
    port: int
    place: Path

    @property
    def url(self) -> str:
        return self.server.url_with_password(database=self.name)

    @property
    def user(self) -> str:
        return OWNER

    @property
    def password(self) -> str:
        return self.server.password_file(OWNER).read_text().strip()


class LoadSite:
    """Use as created by `load_site`."""

    def __init__(self, server: EmbeddedPostgres, kafka: RunningKafka, place: Path, port: int, records: int) -> None:
        self.server, self.kafka, self.records, self._place, self._port = server, kafka, records, place, port
        self._numbers = count(1)

    @contextmanager
    def database(self) -> Iterator[TargetDatabase]:
        """A new database, dropped at the end."""
        name = f"load_{next(self._numbers)}"
        place = self._place / name
        place.mkdir()
        with psycopg.connect(self.server.url_with_password(database="postgres"), autocommit=True) as owner:
            owner.execute(f'CREATE DATABASE "{name}"')
            try:
                yield TargetDatabase(self.server, name, self._port, place)
            finally:
                owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
                owner.execute("CHECKPOINT")  # the writes of one loader are no burden of the next

    def measure(
        self,
        database: TargetDatabase,
        processes: Sequence[psutil.Process],
        query: str,
        expected: LoadedContent,
        begin: Callable[[], None] = lambda: None,
    ) -> LoadCost:
        """Call `begin`, then wait until `query` returns the expected content. Raises FailedMeasurement if it never
        does or if a process ends before."""
        before, started_s = self._cpu_s(processes), time.perf_counter()
        begin()
        with psycopg.connect(database.url, autocommit=True) as connection:
            while (content := _content(connection, query)) != expected:
                if time.perf_counter() - started_s > GIVE_UP_S:
                    raise FailedMeasurement(f"after {GIVE_UP_S:.0f} s: expected {expected}, got {content}")
                if not all(process.is_running() and process.status() != "zombie" for process in processes):
                    raise FailedMeasurement(f"a process ended before everything was loaded: got {content}")
                time.sleep(POLL_INTERVAL_S)
        elapsed_s = time.perf_counter() - started_s
        spent_s = [late - early for late, early in zip(self._cpu_s(processes), before, strict=True)]
        return LoadCost(self.records, elapsed_s, *spent_s)

    def _cpu_s(self, processes: Sequence[psutil.Process]) -> tuple[float, float]:
        postgres = self.server.pid()
        loaders_s = sum(tree_cpu_s(process) for process in processes)
        return loaders_s, tree_cpu_s(psutil.Process(postgres)) if postgres else 0.0


@contextmanager
def load_site(records: int, kafka_address: str | None) -> Iterator[LoadSite]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-load-") as folder, running_kafka(kafka_address) as kafka:
        place = Path(folder)
        place.chmod(0o755)  # the server runs as another user
        port = free_port()
        os.environ["PGPORT"] = str(port)  # for the server and for all clients
        server = EmbeddedPostgres(place / "data")
        server.start()
        try:
            with psycopg.connect(server.url_with_password(), autocommit=True) as owner:
                owner.execute("ALTER SYSTEM SET listen_addresses = '127.0.0.1'")
            server.stop()
            server.start()
            yield LoadSite(server, kafka, place, port, records)
        finally:
            server.stop()


def fill(broker: Broker, records: int) -> None:
    """Append all records to clean-events."""
    generated = make_records(records)
    with closing(broker.producer("bench-load")) as producer:
        while batch := list(islice(generated, UNIT_RECORDS)):
            with producer.unit() as unit:
                unit.append(batch)
                unit.commit()


def _content(connection: psycopg.Connection[tuple[int, int]], query: str) -> LoadedContent | None:
    """None before the table exists."""
    try:
        row = connection.execute(query).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return LoadedContent(*row) if row else None


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
