"""The embedded server and the migrations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from tests.headrace.database.recovery import recovering


def test_a_migrated_database_has_every_view(database: psycopg.Connection[tuple[object, ...]]) -> None:
    rows = database.execute("SELECT table_name FROM information_schema.views WHERE table_schema = 'analytics'")

    names = {row[0] for row in rows}

    assert {
        "sessions",
        "events",
        "entities",
        "entries",
        "observations",
        "outcomes",
        "transactions",
        "return_rates",
        "predictions",
        "regressions",
        "corrections",
        "parked",
        "dead_letters",
    } <= names


def test_a_server_whose_path_is_too_long_for_its_socket_starts_again(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    for _ in range(2):
        server = EmbeddedPostgres(deep)
        server.start()
        with psycopg.connect(server.url_with_password()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        server.stop()

    assert not server.accepts_connections()


def test_a_data_directory_can_be_moved(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "before")
    server.start()
    server.stop()
    (tmp_path / "before").rename(tmp_path / "after")

    moved = EmbeddedPostgres(tmp_path / "after")
    moved.start()
    try:
        with psycopg.connect(moved.url_with_password()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        moved.stop()


def test_start_waits_for_a_server_that_another_process_began_to_start(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")

    with recovering(server, tmp_path) as release, ThreadPoolExecutor(1) as pool:
        start = pool.submit(server.start)
        with pytest.raises(TimeoutError):
            start.result(timeout=1)
        release()
        start.result()

        assert server.accepts_connections()
