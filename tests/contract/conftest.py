"""The brokers that the contract suite runs against, each as a `Harness`: a broker, and ways to do it harm."""

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
from psycopg.conninfo import conninfo_to_dict, make_conninfo

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
from tests.waiting import terminate_backends

if TYPE_CHECKING:
    from shared.broker.kafka.broker import KafkaBroker

# Short, for tests wait until one ends; longer than a loaded machine keeps a living member from renewing its own.
LEASE_S = 4.0
# For tests of what happens before a lease ends: longer than they wait.
LONG_LEASE_S = 30.0
STOPPED_UNIT_S = 1.0
# Of Kafka at a commit: longer than any takes, and the tests wait it out.
ANSWER_S = 3.0
TOPICS = (TopicSpec("one", 1), TopicSpec("many", 4), TopicSpec("other", 4), TopicSpec("state", 1, None, compacted=True))


class Line(Protocol):
    """A line to the broker that can be told to break when a commit passes."""

    def cut_at_commit(self, *, arrived: bool) -> None: ...


class Forgetful(NamedTuple):
    """A broker, and the line to it."""

    broker: Broker
    line: Line


class Harness(Protocol):
    """A broker under test."""

    lease_s: float
    broker: Broker

    def another(self) -> Broker:
        """The same broker as another process would have it."""
        ...

    def command(self, *arguments: str) -> list[str]:
        """The command line of a child process (child.py) that works on this broker."""
        ...

    def cut(self, *, who: str = "") -> int:
        """Break open connections of the clients whose name has `who` in it; returns how many."""
        ...

    def cut_database(self, *, who: str) -> None:
        """Break those clients' connections to PostgreSQL."""
        ...

    def forgetful(self) -> AbstractContextManager[Forgetful]:
        """The broker over a line that can be told to break at the next commit."""
        ...


class EmbeddedHarness:
    """The embedded broker on a database of its own."""

    def __init__(self, url: str, url_file: Path, lease_s: float) -> None:
        self.lease_s = lease_s
        self._url = url
        self._url_file = url_file
        url_file.write_text(json.dumps({"conninfo": url, "lease_s": lease_s}))
        self._brokers: list[PostgresBroker] = []
        self.broker: Broker = self.another()
        self.broker.ensure_topics(TOPICS)

    def another(self) -> PostgresBroker:
        self._brokers.append(PostgresBroker(self._url, patience(self.lease_s)))
        return self._brokers[-1]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.contract.child", str(self._url_file), *arguments]

    def cut(self, *, who: str = "") -> int:
        return _terminate(self._url, who)

    def cut_database(self, *, who: str) -> None:
        assert self.cut(who=who) > 0

    @contextmanager
    def forgetful(self) -> Iterator[Forgetful]:
        with cutting_proxy(Path(str(conninfo_to_dict(self._url)["host"]))) as proxy:
            conninfo = make_conninfo(self._url, host=str(proxy.directory))
            yield Forgetful(PostgresBroker(conninfo, patience(self.lease_s)), proxy)

    def retain(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            retention.enforce(connection)

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()


class KafkaHarness:
    """Kafka, with groups and transactions under a name of the test's own, and a proxy before it that can cut.

    Where HEADRACE_KAFKA names the broker, no proxy can stand before it: its clients are told to come directly.
    """

    def __init__(self, kafka: KafkaInUse, conninfo: str, url_file: Path, lease_s: float) -> None:
        self.lease_s = lease_s
        self._kafka = kafka
        self._conninfo = conninfo
        self._settings = KafkaSettings(environment=uuid4().hex, session_timeout_s=self.lease_s)
        self._url_file = url_file
        self._proxy: KafkaProxy | None = None
        self._url = f"kafka://{kafka.bootstrap}"
        if kafka.server is not None:
            door = kafka.server.doors[0]
            self._proxy = KafkaProxy(door.advertised, door.port)
            self._url = f"kafka://127.0.0.1:{door.advertised}"
        told = {"conninfo": conninfo, "lease_s": lease_s, "url": self._url}
        url_file.write_text(json.dumps(told | {"kafka": self._settings.model_dump(mode="json")}))
        self._brokers: list[KafkaBroker] = []
        self.broker: Broker = self.another()
        self.broker.ensure_topics(TOPICS)

    def another(self) -> KafkaBroker:
        self._brokers.append(self._broker(self._url))
        return self._brokers[-1]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.contract.child", str(self._url_file), *arguments]

    def cut(self, *, who: str = "") -> int:
        """All of them: Kafka's connections are shared, and have no names on the line."""
        self._kafka.own()
        assert self._proxy is not None
        return self._proxy.cut()

    def cut_database(self, *, who: str) -> None:
        assert _terminate(self._conninfo, who) > 0

    @contextmanager
    def forgetful(self) -> Iterator[Forgetful]:
        door = self._kafka.own().doors[1]
        with (
            KafkaProxy(door.advertised, door.port) as proxy,
            closing(self._broker(f"kafka://127.0.0.1:{door.advertised}")) as broker,
        ):
            yield Forgetful(broker, proxy)

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()
        if self._proxy is not None:
            self._proxy.close()

    def _broker(self, url: str) -> KafkaBroker:
        from shared.broker.kafka.broker import KafkaBroker  # loads kafka-python: once its warnings are settled

        return KafkaBroker(url, self._settings, self._conninfo, patience(self.lease_s), ANSWER_S)


def patience(lease_s: float) -> Timeouts:
    return Timeouts(lease_s=lease_s, renew_s=0.25, stopped_unit_s=STOPPED_UNIT_S)


def _terminate(url: str, who: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        where = "datname = current_database() AND application_name LIKE %s"
        return len(terminate_backends(connection, where, (f"headrace %{who}%",)))


# kafka-python leaves a socket open that was refused: it is closed by the sweep at the end of the same test.
_KAFKA = pytest.param("kafka", marks=pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture
def lease_s() -> float:
    """How long a member is missed before it is replaced. A test parametrizes it to have another."""
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
