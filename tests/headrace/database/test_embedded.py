"""The embedded server and the migrations."""

from __future__ import annotations

import os
import pwd
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import psycopg.sql
import pytest

from headrace.database.embedded import EmbeddedPostgres
from shared.errors import ConfigError
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


def test_a_stop_that_takes_too_long_says_so_and_a_start_waits_for_its_end(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", stop_timeout_s=1)
    server.start()
    with psycopg.connect(server.url_with_password()) as connection:
        row = connection.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'").fetchone()
    assert row is not None
    former = server.pid()
    os.kill(row[0], signal.SIGSTOP)  # a checkpoint that is not finished
    try:
        with pytest.raises(ConfigError, match=rf"process {former}\) .* has not ended after 1 s"):
            server.stop()
    finally:
        os.kill(row[0], signal.SIGCONT)

    server.start()
    assert server.pid() != former
    server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_the_server_of_root_can_write_only_what_its_user_owns(postgres: EmbeddedPostgres) -> None:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{postgres.pid()}/status").read_text().splitlines() if ":" in line
    )
    read_search = 1 << 2  # CAP_DAC_READ_SEARCH

    kept = [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]
    assert kept == [read_search] * 4
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Uid"].split()[0] != "0"


def test_a_superuser_of_the_server_writes_no_file_of_others(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    tmp_path.chmod(0o755 if os.geteuid() == 0 else 0o555)
    with psycopg.connect(postgres.url_with_password(), autocommit=True) as connection:
        for copy in ("COPY (SELECT 1) TO %s", "COPY (SELECT 1) TO PROGRAM %s"):
            target = str(tmp_path / "x") if "PROGRAM" not in copy else f"touch {tmp_path}/x"
            with pytest.raises(psycopg.Error):
                connection.execute(psycopg.sql.SQL(copy.replace("%s", "{}")).format(psycopg.sql.Literal(target)))

    assert not (tmp_path / "x").exists()


def test_directories_are_closed_to_other_users(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    server.start()
    try:
        made = [server.data_dir, server.pgdata, server.socket_dir, server.password_file("headrace_owner").parent]
        assert [oct(each.stat().st_mode & 0o777) for each in made] == ["0o700"] * 4
    finally:
        server.stop()


def test_a_socket_directory_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("d" * 100))
    server.data_dir.mkdir()
    first = server.socket_dir
    assert server.socket_dir == first

    first.chmod(0o777)
    second = server.socket_dir
    assert second != first
    first.rmdir()
    second.rmdir()
    second.symlink_to(tmp_path)

    third = server.socket_dir
    assert third not in {first, second}
    second.unlink()
    third.rmdir()


def test_a_client_refuses_a_server_of_another_user(postgres: EmbeddedPostgres) -> None:
    url = postgres.url_with_password()
    assert "requirepeer=" in url
    user = pwd.getpwuid(postgres.pgdata.stat().st_uid).pw_name

    with pytest.raises(psycopg.OperationalError, match="requirepeer"):
        psycopg.connect(url.replace(f"requirepeer={user}", "requirepeer=nobody"))
