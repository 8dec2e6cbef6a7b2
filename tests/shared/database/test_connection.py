"""A line that stays open and passes nothing: TCP is content with it, we are not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from shared.broker.contract import TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.log import PostgresTopics
from shared.broker.postgres.unit import PostgresProducer, PostgresUnit
from shared.database.connection import TIMEOUTS, DbConnection, ReconnectingConnection, TimeoutConnection, Timeouts
from shared.errors import Aborted, TransientError
from shared.topics import TopicSpec
from tests.contract.records import new, until
from tests.shared.database.black_hole import BlackHole, black_hole
from tests.waiting import DEADLINE_S, terminate_backends

ANSWER_S = 0.3
# Far above ANSWER_S, far below any limit of the system's.
SOON_S = DEADLINE_S / 2


@pytest.fixture
def hole(url: str) -> Iterator[BlackHole]:
    with black_hole(Path(str(conninfo_to_dict(url)["host"]))) as hole:
        yield hole


@pytest.fixture
def link(url: str, hole: BlackHole) -> Iterator[ReconnectingConnection]:
    link = link_through(hole, url)
    yield link
    link.drop()


def link_through(hole: BlackHole, url: str, *, autocommit: bool = True) -> ReconnectingConnection:
    return ReconnectingConnection(
        make_conninfo(url, host=str(hole.directory)), "test", autocommit=autocommit, answer_s=DEADLINE_S
    )


def wait_briefly(connection: DbConnection) -> DbConnection:
    """The connection, which waits for an answer for ANSWER_S from now on. Before, a slow machine may take its time."""
    assert isinstance(connection, TimeoutConnection)
    connection.answer_s = ANSWER_S
    return connection


@contextmanager
def soon() -> Iterator[None]:
    started_at = time.monotonic()
    yield
    assert time.monotonic() - started_at < SOON_S


def test_a_statement_without_an_answer_is_transient_and_the_next_has_a_new_connection(
    hole: BlackHole, link: ReconnectingConnection
) -> None:
    with link.use() as connection:
        connection.execute("SELECT 1")
    wait_briefly(connection)
    hole.swallow()

    with soon(), pytest.raises(TransientError, match=r"no answer within 0\.3 s"), link.use() as connection:
        connection.execute("SELECT 2")
    hole.stop_swallowing()

    with link.use() as again:
        assert again.execute("SELECT 3").fetchone() == (3,)
    assert connection.closed


def test_waiting_for_a_notification_does_not_time_out(link: ReconnectingConnection) -> None:
    with link.use() as connection:
        connection.execute("LISTEN nobody_speaks")
        wait_briefly(connection)
        started_at = time.monotonic()
        assert list(connection.notifies(timeout=2 * ANSWER_S)) == []
        assert time.monotonic() - started_at >= 2 * ANSWER_S
        assert not connection.closed


def test_an_sql_error_does_not_close_the_connection(link: ReconnectingConnection) -> None:
    with link.use() as connection:
        with pytest.raises(psycopg.errors.LockNotAvailable), connection.transaction():
            connection.execute("DO $$ BEGIN RAISE lock_not_available; END $$")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_unit_without_an_answer_is_aborted_promptly(hole: BlackHole, url: str) -> None:
    with closing(PostgresBroker(url)) as broker, closing(PostgresProducer(url, "slot")):
        broker.ensure_topics([TopicSpec("one", 1)])
        link = link_through(hole, url, autocommit=False)
        with soon(), PostgresUnit(link, PostgresTopics(), "slot", 1) as unit:
            unit.append([new("one", "lost")])
            unit.connection.execute("SELECT 1")
            wait_briefly(unit.connection)
            hole.swallow()
            with pytest.raises(Aborted, match="no answer"):
                unit.commit()

        assert broker.end_offsets([TopicPartition("one", 0)]) == {TopicPartition("one", 0): 0}


def test_a_handler_in_a_unit_without_an_answer_gets_an_error_and_a_closed_connection(
    hole: BlackHole, url: str
) -> None:
    link = link_through(hole, url, autocommit=False)
    with soon(), PostgresUnit(link, PostgresTopics(), "slot", 1) as unit:
        unit.connection.execute("SELECT 1")
        connection = wait_briefly(unit.connection)
        hole.swallow()
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
    """It was killed before it gave up its twin's share."""
    patience = Timeouts(lease_s=60, renew_s=0.1)
    broker = PostgresBroker(url, patience)
    broker.ensure_topics([TopicSpec("two", 2)])
    former = broker.consumer("group", ["two"], "a")
    until(lambda: former.poll(0.02, 1).records == [] and len(former.assignment()) == 2)
    with closing(broker.consumer("group", ["two"], "b")) as twin, closing(broker.consumer("group", ["two"], "a")) as a:

        def shared() -> bool:
            twin.poll(0.02, 1)
            a.poll(0.02, 1)
            return len(twin.assignment()) == len(a.assignment()) == 1

        until(shared)
    former.close()
    broker.close()
