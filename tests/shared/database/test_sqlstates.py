"""Errors that a real PostgreSQL raises: which are trouble that passes, and which are the fault of the data."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from headrace.database.embedded import EmbeddedPostgres
from shared.database.connection import ReconnectingConnection
from shared.database.sqlstates import AnswerTimeout, is_timeout, is_trouble
from shared.errors import Aborted, TransientError
from tests.contract.database import read_only
from tests.waiting import DEADLINE_S, terminate_backends, wait_until

Connection = psycopg.Connection[Any]


@contextmanager
def link_to(url: str, **settings: str) -> Iterator[ReconnectingConnection]:
    link = ReconnectingConnection(url, "trouble", autocommit=True, settings=settings)
    try:
        yield link
    finally:
        link.drop()


def trouble_in(link: ReconnectingConnection, use: Callable[[Connection], object]) -> psycopg.Error:
    """The database's error below the TransientError that the connection raises; the next use works again."""
    with pytest.raises(TransientError, match="the database is unavailable") as caught, link.use() as connection:
        use(connection)
    error = caught.value.__cause__
    assert isinstance(error, psycopg.Error)
    assert is_trouble(error)
    return error


def works(link: ReconnectingConnection) -> bool:
    with link.use() as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def executing(statement: str) -> Callable[[Connection], object]:
    return lambda connection: connection.execute(statement)


def test_a_read_only_server_is_trouble(database: Connection, database_url: str) -> None:
    database.execute("CREATE TABLE t (n integer)")
    with link_to(database_url) as link:
        with read_only(database):
            setting = "SHOW default_transaction_read_only"
            with link.use() as connection:
                wait_until(lambda: connection.execute(setting).fetchone() == ("on",))
            error = trouble_in(link, executing("INSERT INTO t VALUES (1)"))

        def can_write() -> bool:
            with link.use() as connection:
                return connection.execute("INSERT INTO t VALUES (1)").rowcount == 1

        wait_until(can_write, forgive=TransientError)

    assert (error.sqlstate, is_timeout(error)) == ("25006", False)


def test_a_read_only_database_is_trouble(database: Connection, database_url: str) -> None:
    database.execute("CREATE TABLE t (n integer)")
    name = database.info.dbname
    database.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with link_to(database_url) as link:
        assert trouble_in(link, executing("INSERT INTO t VALUES (1)")).sqlstate == "25006"


@pytest.mark.parametrize(
    ("settings", "statement", "state", "timeout"),
    [
        ({"statement_timeout": "50ms"}, "SELECT pg_sleep(60)", "57014", True),
        ({"lock_timeout": "50ms"}, "LOCK TABLE t", "55P03", True),
        ({"idle_in_transaction_session_timeout": "50ms"}, "SELECT 1", "25P03", True),
        ({"transaction_timeout": "50ms"}, "SELECT pg_sleep(60)", "25P04", True),
        ({"temp_file_limit": "100kB", "work_mem": "64kB"}, "SELECT n FROM generate_series(1, 200000) n ORDER BY -n",
         "53400", False),
    ],
)  # fmt: skip
def test_a_limit_of_the_server_is_trouble(
    database: Connection, database_url: str, settings: dict[str, str], statement: str, state: str, timeout: bool
) -> None:
    database.execute("CREATE TABLE t (n integer)")

    def use(connection: Connection) -> None:
        with connection.transaction():
            connection.execute(statement)

    def use_when_idle(connection: Connection) -> None:
        with connection.transaction():
            connection.execute(statement)
            pid = connection.info.backend_pid
            ended = "SELECT FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: database.execute(ended, (pid,)).rowcount == 0)
            connection.execute("SELECT 1")

    with psycopg.connect(database_url) as blocker, link_to(database_url, **settings) as link:
        blocker.execute("LOCK TABLE t")
        error = trouble_in(link, use_when_idle if state == "25P03" else use)
        blocker.rollback()
        assert works(link)

    assert (error.sqlstate, is_timeout(error)) == (state, timeout)


def test_the_end_of_a_session_is_trouble(database: Connection, database_url: str) -> None:
    def use(connection: Connection) -> None:
        terminate_backends(database, "pid = %s", (connection.info.backend_pid,))
        connection.execute("SELECT 1")

    with link_to(database_url) as link:
        assert trouble_in(link, use).sqlstate == "57P01"
        assert works(link)


def test_the_connection_limit_is_trouble(database: Connection, database_url: str) -> None:
    name, role, password = database.info.dbname, f"limited_{secrets.token_hex(4)}", secrets.token_hex(8)
    database.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    try:
        with link_to(make_conninfo(database_url, user=role, password=password)) as link:
            database.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
            error = trouble_in(link, executing("SELECT 1"))
            database.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
            assert works(link)
    finally:
        database.execute(f"DROP ROLE {role}")

    assert "too many connections" in str(error)


def test_a_deadlock_is_trouble(database: Connection, database_url: str) -> None:
    database.execute("CREATE TABLE a (); CREATE TABLE b ()")
    waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(database_url) as other, link_to(database_url, deadlock_timeout="10ms") as link:
        other.execute("SET deadlock_timeout = '600s'; LOCK TABLE b")

        def use(connection: Connection) -> None:
            with connection.transaction():
                connection.execute("LOCK TABLE a")
                thread = threading.Thread(target=other.execute, args=("LOCK TABLE a",))
                thread.start()
                try:
                    wait_until(lambda: database.execute(waits).rowcount == 1)
                    connection.execute("LOCK TABLE b")
                finally:
                    connection.close()
                    thread.join()

        assert trouble_in(link, use).sqlstate == "40P01"
        assert works(link)


def test_a_migration_beside_a_prepared_statement_is_trouble_once(database: Connection, database_url: str) -> None:
    database.execute("CREATE TABLE t (n integer)")
    with link_to(database_url) as link:
        for _ in range(4):
            with link.use() as connection:
                connection.execute("SELECT * FROM t")
        database.execute("ALTER TABLE t ALTER n TYPE bigint")
        error = trouble_in(link, executing("SELECT * FROM t"))
        assert works(link)
        with link.use() as connection:
            connection.execute("SELECT * FROM t")

    assert error.sqlstate == "0A000"


def test_a_server_without_a_feature_is_no_trouble(database_url: str) -> None:
    with (
        link_to(database_url) as link,
        pytest.raises(psycopg.errors.FeatureNotSupported) as caught,
        link.use() as connection,
    ):
        connection.execute("CREATE TABLE t (n integer) WITH (oids = true); SELECT 1 FOR UPDATE OF nothing")
    assert not is_trouble(caught.value)


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("SELECT 1 / 0", "22012"),
        ("SELECT 'a\\000b'::bytea::text::integer", "22P02"),
        ("INSERT INTO t VALUES (3)", "23514"),
        ("SELECT * FROM missing", "42P01"),
        ("INSERT INTO long VALUES ((SELECT string_agg(md5(n::text), '') FROM generate_series(1, 300) n))", "54000"),
        ("DO $$ BEGIN RAISE 'a rule of this database'; END $$", "P0001"),
    ],
)
def test_a_fault_of_the_data_is_no_trouble(database: Connection, database_url: str, statement: str, state: str) -> None:
    database.execute("CREATE TABLE t (n integer CHECK (n <> 3)); CREATE TABLE long (v text); CREATE INDEX ON long (v)")
    with link_to(database_url) as link:
        with pytest.raises(psycopg.Error) as caught, link.use() as connection:
            connection.execute(statement)
        assert (caught.value.sqlstate, is_trouble(caught.value)) == (state, False)
        assert not connection.closed


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that a test may damage."""
    server = EmbeddedPostgres(tmp_path / "own")
    server.start()
    yield server
    server.stop()


def test_everything_until_the_end_of_crash_recovery_is_trouble(own_server: EmbeddedPostgres) -> None:
    url = own_server.url_with_password()
    with link_to(url) as link, link_to(url) as victim:
        assert works(link)
        with victim.use() as connection:
            os.kill(connection.info.backend_pid, SIGKILL)  # the server ends all sessions and recovers

        with pytest.raises(TransientError), link.use() as held:
            wait_until(lambda: held.execute("SELECT 1").fetchone() is None)
        wait_until(lambda: works(link), forgive=TransientError)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root may mount a small disk")
def test_a_full_disk_is_trouble(own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    disk = own_server.pgdata / "small_disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not permit mounts")
    try:
        owner = own_server.pgdata.stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        with (
            psycopg.connect(own_server.url_with_password(), autocommit=True) as admin,
            link_to(own_server.url_with_password()) as link,
        ):
            admin.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
            admin.execute("CREATE TABLE t (v text) TABLESPACE small")
            fill = (
                "INSERT INTO t SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 300000) n"
                " GROUP BY n % 3000"
            )
            assert trouble_in(link, executing(fill)).sqlstate == "53100"
            assert works(link)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # the server may hold a file for a while


def test_a_timeout_is_found_below_the_errors_that_it_causes() -> None:
    error = Aborted("rolled back")
    error.__cause__ = TransientError("unavailable")
    assert not is_timeout(error)
    error.__cause__.__cause__ = AnswerTimeout("no answer")
    assert is_timeout(error)


def test_a_server_that_cannot_be_reached_is_trouble() -> None:
    with link_to("postgresql://nobody@127.0.0.1:1/none") as link:
        assert trouble_in(link, executing("SELECT 1")).sqlstate is None


def test_a_statement_that_is_given_up_is_cancelled_on_the_server(database: Connection, database_url: str) -> None:
    link = ReconnectingConnection(database_url, "slow", autocommit=True, answer_s=DEADLINE_S)
    with link.use() as connection:
        pid = connection.info.backend_pid
    with pytest.raises(TransientError, match="no answer"), link.use(answer_s=0.2) as connection:
        connection.execute("SELECT pg_sleep(600)")

    wait_until(lambda: database.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).rowcount == 0)
    link.drop()


def test_the_server_checks_its_client(database_url: str) -> None:
    with link_to(database_url) as link, link.use() as connection:
        assert connection.execute("SHOW client_connection_check_interval").fetchone() == ("2s",)
