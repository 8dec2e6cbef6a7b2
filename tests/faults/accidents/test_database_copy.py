"""A copy of a running PostgreSQL is a server that lacks the last commits."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from shared.errors import ConfigError
from tests.faults.accidents import database_copy
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def test_the_copy_has_what_was_committed_before_it_and_nothing_else(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    server.start()
    with psycopg.connect(server.url_with_password(), autocommit=True) as client, client.cursor() as cursor:
        cursor.execute("CREATE TABLE numbers AS SELECT 1 AS number")
        database_copy.copy_running(server, tmp_path / "copy")
        cursor.execute("INSERT INTO numbers VALUES (2)")
        database_copy.lose(server)
    database_copy.replace(server, tmp_path / "copy")

    def starts() -> bool:
        server.start()
        return True

    wait_until(starts, "the copy as the server", forgive=ConfigError)
    try:
        with psycopg.connect(server.url_with_password()) as client:
            assert client.execute("SELECT number FROM numbers").fetchall() == [(1,)]
    finally:
        server.stop()
