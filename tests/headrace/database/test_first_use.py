"""Commands on an existing PostgreSQL that is not prepared for Headrace, or that is still starting."""

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
READ_ONLY = (("topics",), ("audit",), ("sql", "SELECT 1"), ("trail",), ("token", "list"), ("operations", "show", "1"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """An empty database. The command gets its URL and therefore does not treat it as embedded."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("external"))
    server.start()
    yield server
    server.stop()


def start_command(server: EmbeddedPostgres, tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    options = ("--data-dir", str(tmp_path / "data"), "--database", server.url())
    return subprocess.Popen(
        [sys.executable, "-m", "headrace", *arguments, *options],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "HEADRACE_DATABASE__URL": server.url(),
            "HEADRACE_DATABASE__PASSWORD_FILE": str(server.password_file(OWNER)),
        },
    )


@pytest.mark.parametrize("arguments", READ_ONLY, ids=" ".join)
def test_a_read_only_command_says_how_to_prepare_the_database(
    server: EmbeddedPostgres, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    command = start_command(server, tmp_path, *arguments)
    out, err = command.communicate(timeout=LIMIT_S)

    assert (command.returncode, out) == (2, "")
    assert err == (
        "headrace: the database is not prepared for Headrace yet: `headrace run` or `headrace migrate` prepares it\n"
    )


def test_status_says_why_a_database_does_not_answer(server: EmbeddedPostgres, tmp_path: Path) -> None:
    socket_dir = str(tmp_path / "none")
    options = ("--data-dir", str(tmp_path / "data"), "--database", f"postgresql://me@/headrace?host={socket_dir}")

    result = subprocess.run(
        [sys.executable, "-m", "headrace", "status", *options], capture_output=True, text=True, check=True
    )

    assert "stopped" in result.stdout
    assert f'connection to server on socket "{socket_dir}/.s.PGSQL.5432" failed' in result.stderr


def test_a_command_waits_for_a_database_that_is_starting(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "external")

    with recovering(server, tmp_path) as release:
        command = start_command(server, tmp_path, "migrate")
        assert command.stderr is not None
        first_line = command.stderr.readline()
        release()
        out, more = command.communicate(timeout=LIMIT_S)

    assert (command.returncode, more) == (0, ""), first_line + more
    assert first_line.startswith(f"headrace: {WAITING}cannot connect to the database")
    assert "migrations applied" in out
