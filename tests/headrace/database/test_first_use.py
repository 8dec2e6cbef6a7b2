"""A PostgreSQL that is there already, with nothing of Headrace in it, or only just starting."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.database.embedded import OWNER, EmbeddedPostgres
from tests.headrace.database.recovery import recovering

pytestmark = pytest.mark.slow

LIMIT_S = 300.0
WAITING = "waiting up to 60 s: "
LOOKING = (("topics",), ("audit",), ("sql", "SELECT 1"), ("trail",), ("token", "list"), ("operations", "show", "1"))


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
        [sys.executable, "-m", "headrace", *arguments, *where],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "HEADRACE_DATABASE__URL": server.url(),
            "HEADRACE_DATABASE__PASSWORD_FILE": str(server.password_file(OWNER)),
        },
    )


@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_a_command_that_looks_says_what_prepares_the_database(
    server: EmbeddedPostgres, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    out, err = (command := started(server, tmp_path, *arguments)).communicate(timeout=LIMIT_S)

    assert (command.returncode, out) == (2, "")
    assert err == (
        "headrace: the database is not prepared for Headrace yet: `headrace run` or `headrace migrate` prepares it\n"
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

    with recovering(server, tmp_path) as release:
        command = started(server, tmp_path, "migrate")
        assert command.stderr is not None
        first = command.stderr.readline()
        release()
        out, more = command.communicate(timeout=LIMIT_S)

    assert (command.returncode, more) == (0, ""), first + more
    assert first.startswith(f"headrace: {WAITING}cannot connect to the database")
    assert "migrations applied" in out
