"""A PostgreSQL that is there already, with nothing of Headrace in it, or only just starting."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.pq import PGconn, Ping

from headrace.database.embedded import OWNER, EmbeddedPostgres

LIMIT_S = 60.0
WAITING = "waiting up to 60 s: "
LOOKING = (
    ("topics",), ("audit",), ("sql", "SELECT 1"), ("trail",), ("token", "list"), ("operations", "show", "1"),
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Given by its URL, it is no embedded one to the command. Its database is empty."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("given"))
    server.start()
    yield server
    server.stop()


def started(server: EmbeddedPostgres, tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    where = ("--data-dir", str(tmp_path / "data"), "--database", server.url())
    return subprocess.Popen(
        [sys.executable, "-m", "headrace", *arguments, *where], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "HEADRACE_DATABASE__URL": server.url(),
             "HEADRACE_DATABASE__PASSWORD_FILE": str(server.password_file(OWNER))},
    )  # fmt: skip


@contextmanager
def starting(server: EmbeddedPostgres, directory: Path) -> Iterator[Callable[[], None]]:
    """It starts, and refuses everybody until the function is called: it waits for a file of its archive."""
    released = directory / "released"
    recovery = f"restore_command = 'while [ ! -e {released} ]; do sleep 0.05; done; exit 1'\nhot_standby = off\n"
    with (server.pgdata / "postgresql.auto.conf").open("a") as settings:
        settings.write("wal_level = replica\n")
        settings.flush()
        server.start()  # what is written under a lower level cannot be recovered from an archive
        server.stop()
        settings.write(recovery)
    (server.pgdata / "recovery.signal").touch()

    def start() -> None:
        with suppress(psycopg.OperationalError):  # it is taken for started while it still refuses
            server.start()

    thread = threading.Thread(target=start)
    thread.start()
    try:
        until(server, Ping.REJECT)
        yield released.touch
    finally:
        released.touch()
        thread.join()
        until(server, Ping.OK)
        server.start()
        server.stop()


def until(server: EmbeddedPostgres, state: Ping) -> None:
    deadline = time.monotonic() + LIMIT_S
    while PGconn.ping(server.url().encode()) != state:
        assert time.monotonic() < deadline, f"the server is not at {state.name}"
        time.sleep(0.02)


@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_a_command_that_looks_says_what_prepares_the_database(
    server: EmbeddedPostgres, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    out, err = (command := started(server, tmp_path, *arguments)).communicate(timeout=LIMIT_S)

    assert (command.returncode, out) == (2, "")
    assert err == (
        "headrace: the database holds nothing of Headrace yet: `headrace run` or `headrace migrate` prepares it\n"
    )


def test_status_says_why_a_database_does_not_answer(server: EmbeddedPostgres, tmp_path: Path) -> None:
    other = str(tmp_path / "none")
    where = ("--data-dir", str(tmp_path / "data"), "--database", f"postgresql://me@/headrace?host={other}")

    done = subprocess.run(
        [sys.executable, "-m", "headrace", "status", *where], capture_output=True, text=True, check=True
    )

    assert "stopped" in done.stdout
    assert f'connection to server on socket "{other}/.s.PGSQL.5432" failed' in done.stderr


def test_a_database_that_is_starting_is_waited_for(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "given")
    server.start()
    server.stop()

    with starting(server, tmp_path) as release:
        command = started(server, tmp_path, "migrate")
        assert command.stderr is not None
        first = command.stderr.readline()
        release()
        out, more = command.communicate(timeout=LIMIT_S)

    assert (command.returncode, more) == (0, ""), first + more
    assert first.startswith(f"headrace: {WAITING}cannot connect to the database")
    assert "migrations applied" in out
