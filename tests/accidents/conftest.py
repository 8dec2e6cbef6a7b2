"""A database and a Kafka that a test may lose. Each file starts one of each; a test finds both empty."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient

from headrace.database.embedded import EmbeddedPostgres
from shared.broker.contract import Broker
from shared.broker.kafka.broker import KafkaBroker
from shared.broker.postgres.broker import PostgresBroker
from shared.database.migrations import migrate
from shared.errors import ConfigError
from shared.settings.sections import KafkaSettings
from tests.kafka.jars import KafkaMissingError
from tests.kafka.server import KafkaServer
from tests.waiting import wait_until


class Database:
    """A server of its own. A copy of its directory, made while it is stopped, is a backup."""

    def __init__(self, directory: Path) -> None:
        self._backup, self._empty = directory / "backup", directory / "empty"
        self.server = EmbeddedPostgres(directory / "data")
        self.server.start()
        self.url = self.server.url_with_password()
        migrate(self.url)

    def keep_empty(self) -> None:
        """Remember this state, for `empty`. Its server is stopped."""
        self.server.stop()
        _copy(self.server.pgdata, self._empty)

    def empty(self) -> None:
        """Start with the state of `keep_empty`, which is faster than a new cluster and its migrations."""
        self.server.stop()
        shutil.rmtree(self._backup, ignore_errors=True)
        shutil.rmtree(self.server.pgdata)
        _copy(self._empty, self.server.pgdata)
        self.server.start()

    def back_up(self) -> None:
        self.server.stop()
        _copy(self.server.pgdata, self._backup)
        self.server.start()

    def fail_over(self) -> None:
        """Kill the server; another one starts with the backup, which lacks the last commits."""
        pid = self.server.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.server.accepts_connections(), "the end of the killed server")
        shutil.rmtree(self.server.pgdata)
        _copy(self._backup, self.server.pgdata)

        def starts() -> bool:
            self.server.start()
            return True

        wait_until(starts, "the new server", forgive=ConfigError)  # all sessions of the killed one must have ended

    def restore(self) -> None:
        self.server.stop()
        shutil.rmtree(self.server.pgdata)
        _copy(self._backup, self.server.pgdata)
        self.server.start()


def _copy(source: Path, target: Path) -> None:
    """With its owners: the server does not run as root."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


@pytest.fixture(scope="module")
def database_of_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("database"))
    database.keep_empty()
    yield database
    database.server.stop()


@pytest.fixture
def own_database(database_of_file: Database) -> Iterator[Database]:
    database_of_file.empty()
    yield database_of_file
    database_of_file.server.stop()


@pytest.fixture(scope="module")
def kafka_of_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    try:
        server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    except KafkaMissingError as missing:
        pytest.skip(str(missing))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_kafka(kafka_of_file: KafkaServer) -> KafkaServer:
    """Without topics; groups and transactions have another prefix in each test (`kafka_settings`)."""
    if not kafka_of_file.is_running:  # the test before failed while it was stopped
        kafka_of_file.start()
    with closing(KafkaAdminClient(bootstrap_servers=kafka_of_file.bootstrap)) as admin:
        if topics := [topic for topic in admin.list_topics() if not topic.startswith("__")]:
            admin.delete_topics(topics)
            wait_until(lambda: not set(topics) & set(admin.list_topics()), "an empty Kafka")
    return kafka_of_file


@pytest.fixture
def kafka_settings() -> KafkaSettings:
    return KafkaSettings(environment=uuid4().hex, session_timeout_s=4.0)


@pytest.fixture
def open_kafka(
    own_kafka: KafkaServer, own_database: Database, kafka_settings: KafkaSettings
) -> Callable[[], KafkaBroker]:
    return lambda: KafkaBroker(f"kafka://{own_kafka.bootstrap}", kafka_settings, own_database.url)


@pytest.fixture
def open_embedded(own_database: Database) -> Callable[[], Broker]:
    return lambda: PostgresBroker(own_database.url)
