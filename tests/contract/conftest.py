"""The brokers that the contract suite runs against, each as a `Harness`: a broker, and ways to do it harm."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from shared.broker import postgres_retention
from shared.broker.contract import Broker
from shared.broker.postgres_broker import PostgresBroker
from shared.broker.postgres_link import Patience
from shared.topics import TopicSpec
from tests.contract.cutting_proxy import cutting_proxy
from tests.contract.database import empty_log

# Short, so that the tests of what happens after them are.
PATIENCE = Patience(lease_s=1.5, renew_s=0.25, stopped_unit_s=1.0)
TOPICS = (
    TopicSpec("one", 1),
    TopicSpec("many", 4),
    TopicSpec("other", 4),
    TopicSpec("state", 1, None, compacted=True),
)


class Line(Protocol):
    """A line to the broker that can be told to break when a commit passes."""

    def cut_at_commit(self, *, arrived: bool) -> None: ...


class Forgetful(NamedTuple):
    """A broker, and the line to it."""

    broker: Broker
    line: Line


class Harness(Protocol):
    """A broker under test. Kafka joins as a second implementation."""

    lease_s: float
    stopped_unit_s: float
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

    def forgetful(self) -> AbstractContextManager[Forgetful]:
        """The broker over a line that can be told to break at the next commit."""
        ...

    def retain(self) -> None:
        """Enforce retention now."""
        ...


class EmbeddedHarness:
    """The embedded broker on a database of its own."""

    def __init__(self, url: str, url_file: Path) -> None:
        self.lease_s, self.stopped_unit_s = PATIENCE.lease_s, PATIENCE.stopped_unit_s
        self._url = url
        self._url_file = url_file
        url_file.write_text(url)
        self._brokers: list[PostgresBroker] = []
        self.broker: Broker = self.another()
        self.broker.ensure_topics(TOPICS)

    def another(self) -> PostgresBroker:
        self._brokers.append(PostgresBroker(self._url, PATIENCE))
        return self._brokers[-1]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.contract.child", str(self._url_file), *arguments]

    def cut(self, *, who: str = "") -> int:
        with psycopg.connect(self._url, autocommit=True) as connection:
            return connection.execute(
                "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND application_name LIKE %s",
                (f"headrace %{who}%",),
            ).rowcount

    @contextmanager
    def forgetful(self) -> Iterator[Forgetful]:
        with cutting_proxy(Path(str(conninfo_to_dict(self._url)["host"]))) as proxy:
            yield Forgetful(PostgresBroker(make_conninfo(self._url, host=str(proxy.directory)), PATIENCE), proxy)

    def retain(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            postgres_retention.enforce(connection)

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()


@pytest.fixture(params=["embedded"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    assert request.param == "embedded"
    with empty_log(request.getfixturevalue("postgres")) as url:
        embedded = EmbeddedHarness(url, tmp_path / "broker.url")
        yield embedded
        embedded.close()


@pytest.fixture
def broker(harness: Harness) -> Broker:
    return harness.broker
