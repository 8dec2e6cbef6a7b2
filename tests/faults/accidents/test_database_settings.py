"""What the accidents do to a running PostgreSQL, and that they undo it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from headrace.database.access import Access
from headrace.database.embedded import READER, EmbeddedPostgres
from tests.faults.accidents.database_settings import (
    ConnectionHog,
    admin,
    end_slow_inserts,
    has_services,
    limit_connections,
    set_read_only,
    slow_down_inserts,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
LOADER = "headrace_loader"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """With few connections, and with a table of versions."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("database"))
    server.start()
    limit_connections(Access(server, None), 20)
    with admin(Access(server, None)) as connection:
        connection.execute(f'CREATE ROLE "{LOADER}" LOGIN')
        connection.execute(f'CREATE ROLE "{READER}" LOGIN')
        connection.execute("CREATE SCHEMA facts")
        connection.execute("CREATE TABLE facts.versions (number int)")
        connection.execute(f'GRANT USAGE ON SCHEMA facts TO "{LOADER}"')
        connection.execute(f'GRANT ALL ON facts.versions TO "{LOADER}"')
    server.set_passwords((LOADER, READER))
    server.stop()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def access(server: EmbeddedPostgres) -> Access:
    return Access(server, None)


def connect(server: EmbeddedPostgres) -> psycopg.Connection[Any]:
    return psycopg.connect(server.url_with_password(LOADER), autocommit=True)


def insert(connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO facts.versions VALUES (1)")


def test_read_only_ends_sessions_and_refuses_writes_until_its_end(server: EmbeddedPostgres, access: Access) -> None:
    with closing(connect(server)) as former:
        set_read_only(access, True)
        with pytest.raises(psycopg.OperationalError):
            insert(former)
    with closing(connect(server)) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        insert(connection)

    set_read_only(access, False)

    with closing(connect(server)) as connection:
        insert(connection)


def test_all_connections_are_taken_until_they_are_released(server: EmbeddedPostgres, access: Access) -> None:
    with closing(connect(server)), admin(access) as owner:
        assert has_services(owner)
        hog = ConnectionHog(access, server)

        wait_until(hog.take_all, "services without a connection")

        with pytest.raises(psycopg.OperationalError):
            connect(server)
        hog.release()
        wait_until(lambda: connect(server), "a free connection", forgive=psycopg.OperationalError).close()


def test_inserts_are_slow_until_the_end(server: EmbeddedPostgres, access: Access) -> None:
    with closing(connect(server)) as connection:
        connection.execute("SET statement_timeout = '500ms'")
        slow_down_inserts(access, 60.0)
        with pytest.raises(psycopg.errors.QueryCanceled):
            insert(connection)
        connection.execute("SET statement_timeout = 0")

        end_slow_inserts(access)

        insert(connection)
