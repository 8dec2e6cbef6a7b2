"""Connections that stay open and pass no data: they time out although TCP reports no error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from shared.broker.contract import TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.log import PostgresTopics
from shared.broker.postgres.unit import HeldSlot, PostgresProducer, PostgresUnit
from shared.database.connection import TIMEOUTS, DbConnection, ReconnectingConnection, TimeoutConnection, Timeouts
from shared.errors import Aborted, TransientError
from shared.topics import TopicSpec
from tests.contract.records import new_record, until
from tests.proxy import proxied_conninfo
from tests.shared.database.blocking_proxy import SilentProxy, silent_proxy
from tests.waiting import DEADLINE_S, terminate_backends

ANSWER_S = 0.3
# Far above ANSWER_S, far below every timeout of the system.
SOON_S = DEADLINE_S / 2


@pytest.fixture
def proxy(url: str) -> Iterator[SilentProxy]:
    with silent_proxy(Path(str(conninfo_to_dict(url)["host"]))) as proxy:
        yield proxy


@pytest.fixture
def link(url: str, proxy: SilentProxy) -> Iterator[ReconnectingConnection]:
    link = connect_through(proxy, url)
    yield link
    link.drop()


def connect_through(proxy: SilentProxy, url: str, *, autocommit: bool = True) -> ReconnectingConnection:
    return ReconnectingConnection(
        proxied_conninfo(url, proxy.directory), "test", autocommit=autocommit, answer_s=DEADLINE_S
    )


def shorten_timeout(connection: DbConnection) -> DbConnection:
    """From now on the connection waits for an answer for ANSWER_S. Until now a slow machine could take longer."""
    assert isinstance(connection, TimeoutConnection)
    connection.answer_s = ANSWER_S
    return connection


@contextmanager
def assert_prompt() -> Iterator[None]:
    started_at = time.monotonic()
    yield
    assert time.monotonic() - started_at < SOON_S


def test_a_statement_without_an_answer_is_transient_and_the_next_has_a_new_connection(
    proxy: SilentProxy, link: ReconnectingConnection
) -> None:
    with link.use() as connection:
        connection.execute("SELECT 1")
    shorten_timeout(connection)
    proxy.start_dropping()

    with assert_prompt(), pytest.raises(TransientError, match=r"no answer within 0\.3 s"), link.use() as connection:
        connection.execute("SELECT 2")
    proxy.stop_dropping()

    with link.use() as again:
        assert again.execute("SELECT 3").fetchone() == (3,)
    assert connection.closed


def test_waiting_for_a_notification_does_not_time_out(link: ReconnectingConnection) -> None:
    with link.use() as connection:
        connection.execute("LISTEN unused_channel")
        shorten_timeout(connection)
        started_at = time.monotonic()
        assert list(connection.notifies(timeout=2 * ANSWER_S)) == []
        assert time.monotonic() - started_at >= 2 * ANSWER_S
        assert not connection.closed


def test_an_sql_error_does_not_close_the_connection(link: ReconnectingConnection) -> None:
    with link.use() as connection:
        with pytest.raises(psycopg.errors.LockNotAvailable), connection.transaction():
            connection.execute("DO $$ BEGIN RAISE lock_not_available; END $$")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_unit_without_an_answer_is_aborted_promptly(proxy: SilentProxy, url: str) -> None:
    with closing(PostgresBroker(url)) as broker, closing(PostgresProducer(url, "slot")):
        broker.ensure_topics([TopicSpec("one", 1)])
        link = connect_through(proxy, url, autocommit=False)
        with assert_prompt(), PostgresUnit(link, PostgresTopics(), HeldSlot("slot", 1, 0)) as unit:
            unit.append([new_record("one", "lost")])
            unit.connection.execute("SELECT 1")
            shorten_timeout(unit.connection)
            proxy.start_dropping()
            with pytest.raises(Aborted, match="no answer"):
                unit.commit()

        assert broker.end_offsets([TopicPartition("one", 0)]) == {TopicPartition("one", 0): 0}


def test_a_handler_in_a_unit_without_an_answer_gets_an_error_and_a_closed_connection(
    proxy: SilentProxy, url: str
) -> None:
    link = connect_through(proxy, url, autocommit=False)
    with assert_prompt(), PostgresUnit(link, PostgresTopics(), HeldSlot("slot", 1, 0)) as unit:
        unit.connection.execute("SELECT 1")
        connection = shorten_timeout(unit.connection)
        proxy.start_dropping()
        with pytest.raises(psycopg.OperationalError, match="no answer"), connection.transaction():
            connection.execute("SELECT 2")
        assert connection.closed


def test_a_connection_has_the_default_answer_timeout() -> None:
    assert TimeoutConnection.answer_s == TIMEOUTS.answer_s == 15


def test_a_connection_that_broke_while_idle_is_replaced_without_an_error(url: str) -> None:
    link = ReconnectingConnection(url, "idle", autocommit=True)
    with link.use() as connection, psycopg.connect(url, autocommit=True) as admin:
        before = connection.info.backend_pid
        terminate_backends(admin, "pid = %s", (before,))

    with link.use() as connection:
        after = connection.execute("SELECT pg_backend_pid()").fetchone()

    assert after != (before,)
    link.drop()


def test_a_pending_notification_is_not_mistaken_for_a_closed_connection(url: str) -> None:
    link = ReconnectingConnection(url, "listener", autocommit=True)
    with link.use() as connection, psycopg.connect(url, autocommit=True) as admin:
        before = connection.info.backend_pid
        connection.execute("LISTEN something")
        admin.execute("NOTIFY something")

    with link.use() as connection:
        assert connection.info.backend_pid == before
        assert [each.channel for each in connection.notifies(timeout=DEADLINE_S, stop_after=1)] == ["something"]
    link.drop()


def test_a_restarted_member_shares_the_partitions_of_its_former_process(url: str) -> None:
    """The former process was killed before it released the share of the second member."""
    broker = PostgresBroker(url, Timeouts(lease_s=60, renew_s=0.1))
    broker.ensure_topics([TopicSpec("two", 2)])
    former = broker.consumer("group", ["two"], "a")
    until(lambda: former.poll(0.02, 1).records == [] and len(former.assignment()) == 2)
    with (
        closing(broker.consumer("group", ["two"], "b")) as second,
        closing(broker.consumer("group", ["two"], "a")) as first,
    ):

        def is_balanced() -> bool:
            second.poll(0.02, 1)
            first.poll(0.02, 1)
            return len(second.assignment()) == len(first.assignment()) == 1

        until(is_balanced)
    former.close()
    broker.close()
