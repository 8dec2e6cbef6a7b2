"""The brokers of the contract suite: each is a `Harness`, a broker with ways to break its connections."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from shared.broker.contract import Broker
from shared.broker.postgres import retention
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import Timeouts
from shared.settings.sections import KafkaSettings
from shared.topics import TopicSpec
from tests.contract.cutting_proxy import cutting_proxy
from tests.contract.database import empty_log
from tests.contract.kafka_proxy import KafkaProxy
from tests.kafka.use import KafkaInUse
from tests.proxy import proxied_conninfo
from tests.waiting import terminate_backends

if TYPE_CHECKING:
    from shared.broker.kafka.broker import KafkaBroker

# Short, because tests wait until a lease ends; long enough for a live member on a loaded machine to renew it.
LEASE_S = 4.0
# For tests of what happens before a lease ends: longer than their deadlines.
LONG_LEASE_S = 30.0
STOPPED_UNIT_S = 1.0
# Timeout of a commit on Kafka: longer than any commit takes; some tests wait until it ends.
ANSWER_S = 3.0
TOPICS = (TopicSpec("one", 1), TopicSpec("many", 4), TopicSpec("other", 4), TopicSpec("state", 1, None, compacted=True))


class CommitProxy(Protocol):
    """A proxy that can break the connection at a commit."""

    def cut_at_commit(self, *, delivered: bool) -> None: ...


class ProxiedBroker(NamedTuple):
    """A broker whose connections go through a proxy."""

    broker: Broker
    proxy: CommitProxy


class Harness(Protocol):
    """A broker under test."""

    lease_s: float
    broker: Broker
    conninfo: str
    """The database of the log or, with Kafka, of the positions."""

    def new_broker(self) -> Broker:
        """The same broker with connections of its own, as in another process."""
        ...

    def command(self, *arguments: str) -> list[str]:
        """The command line of a child process (child.py) that uses this broker."""
        ...

    def cut(self, *, client: str = "") -> int:
        """Break the connections of the clients whose name contains `client`; returns how many."""
        ...

    def cut_database(self, *, client: str) -> None:
        """Break the connections of these clients to PostgreSQL."""
        ...

    def proxied(self) -> AbstractContextManager[ProxiedBroker]:
        """The broker behind a proxy that can break the connection at the next commit."""
        ...


class EmbeddedHarness:
    """The embedded broker on its own database."""

    def __init__(self, url: str, config_file: Path, lease_s: float) -> None:
        self.lease_s = lease_s
        self.conninfo = url
        self._config_file = config_file
        config_file.write_text(json.dumps({"conninfo": url, "lease_s": lease_s}))
        self._brokers: list[PostgresBroker] = []
        self.broker: Broker = self.new_broker()
        self.broker.ensure_topics(TOPICS)

    def new_broker(self) -> PostgresBroker:
        self._brokers.append(PostgresBroker(self.conninfo, timeouts(self.lease_s)))
        return self._brokers[-1]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.contract.child", str(self._config_file), *arguments]

    def cut(self, *, client: str = "") -> int:
        return _terminate(self.conninfo, client)

    def cut_database(self, *, client: str) -> None:
        assert self.cut(client=client) > 0

    @contextmanager
    def proxied(self) -> Iterator[ProxiedBroker]:
        with cutting_proxy(Path(str(conninfo_to_dict(self.conninfo)["host"]))) as proxy:
            conninfo = proxied_conninfo(self.conninfo, proxy.directory)
            yield ProxiedBroker(PostgresBroker(conninfo, timeouts(self.lease_s)), proxy)

    def retain(self) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            retention.enforce(connection)

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()


class KafkaHarness:
    """Kafka behind a proxy that can break connections; groups and transactions have a prefix for each test.

    Without a proxy if HEADRACE_KAFKA names the broker: its clients connect to its advertised address directly.
    """

    def __init__(self, kafka: KafkaInUse, conninfo: str, config_file: Path, lease_s: float) -> None:
        self.lease_s = lease_s
        self._kafka = kafka
        self.conninfo = conninfo
        self._settings = KafkaSettings(environment=uuid4().hex, session_timeout_s=self.lease_s)
        self._config_file = config_file
        self._proxy: KafkaProxy | None = None
        self._url = f"kafka://{kafka.bootstrap}"
        if kafka.server is not None:
            listener = kafka.server.proxied_listeners[0]
            self._proxy = KafkaProxy(listener.advertised_port, listener.port)
            self._url = f"kafka://127.0.0.1:{listener.advertised_port}"
        config = {"conninfo": conninfo, "lease_s": lease_s, "url": self._url}
        config_file.write_text(json.dumps(config | {"kafka": self._settings.model_dump(mode="json")}))
        self._brokers: list[KafkaBroker] = []
        self.broker: Broker = self.new_broker()
        self.broker.ensure_topics(TOPICS)

    def new_broker(self) -> KafkaBroker:
        self._brokers.append(self._broker(self._url))
        return self._brokers[-1]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.contract.child", str(self._config_file), *arguments]

    def cut(self, *, client: str = "") -> int:
        """Breaks all connections: those of Kafka have no names and are shared."""
        self._kafka.require_own()
        assert self._proxy is not None
        return self._proxy.cut()

    def cut_database(self, *, client: str) -> None:
        assert _terminate(self.conninfo, client) > 0

    @contextmanager
    def proxied(self) -> Iterator[ProxiedBroker]:
        listener = self._kafka.require_own().proxied_listeners[1]
        with (
            KafkaProxy(listener.advertised_port, listener.port) as proxy,
            closing(self._broker(f"kafka://127.0.0.1:{listener.advertised_port}")) as broker,
        ):
            yield ProxiedBroker(broker, proxy)

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()
        if self._proxy is not None:
            self._proxy.close()

    def _broker(self, url: str) -> KafkaBroker:
        from shared.broker.kafka.broker import (
            KafkaBroker,  # loads kafka-python, so only after the warning filters are set
        )

        return KafkaBroker(url, self._settings, self.conninfo, timeouts(self.lease_s), ANSWER_S)


def timeouts(lease_s: float) -> Timeouts:
    return Timeouts(lease_s=lease_s, renew_s=0.25, stopped_unit_s=STOPPED_UNIT_S)


def _terminate(url: str, client: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        where = "datname = current_database() AND application_name LIKE %s"
        return len(terminate_backends(connection, where, (f"headrace %{client}%",)))


# kafka-python leaves refused sockets open. gc.collect() at the end of the test closes them.
_KAFKA = pytest.param("kafka", marks=pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture
def lease_s() -> float:
    """After this time a silent member is replaced. Tests can parametrize it."""
    return LEASE_S


@pytest.fixture(params=["embedded", _KAFKA])
def harness(request: pytest.FixtureRequest, tmp_path: Path, lease_s: float) -> Iterator[Harness]:
    with empty_log(request.getfixturevalue("postgres")) as url:
        if request.param == "embedded":
            with closing(EmbeddedHarness(url, tmp_path / "broker.url", lease_s)) as embedded:
                yield embedded
            return
        kafka: KafkaInUse = request.getfixturevalue("kafka")
        with kafka.empty(), closing(KafkaHarness(kafka, url, tmp_path / "broker.url", lease_s)) as harness:
            yield harness
        gc.collect()


@pytest.fixture
def broker(harness: Harness) -> Broker:
    return harness.broker
