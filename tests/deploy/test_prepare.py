"""The job that runs before the services: a database as its owner finds it becomes one that they can work with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import yaml

from headrace.access import ROLES
from headrace.embedded import OWNER, EmbeddedPostgres

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "docker" / "prepare.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One of its own: roles and their passwords belong to the whole server."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("prepare"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    for role in ROLES:
        (tmp_path / f"{role}.password").write_text(f"the one of {role}\n")
    return tmp_path


def prepare(server: EmbeddedPostgres, directory: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "HEADRACE_DATABASE__URL": server.url(),
        "HEADRACE_DATABASE__PASSWORD_FILE": str(server.password_file(OWNER)),
    }
    command = [sys.executable, str(SCRIPT), str(directory)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=directory)


def login(server: EmbeddedPostgres, role: str, password: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(server.url(role).replace("@", f":{quote(password)}@", 1))


def test_every_role_gets_the_password_of_its_file(server: EmbeddedPostgres, passwords: Path) -> None:
    done = prepare(server, passwords)

    assert done.returncode == 0, done.stderr
    for role in ROLES:
        login(server, role, f"the one of {role}").close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            login(server, role, "another one")


def test_a_service_finds_its_topics(server: EmbeddedPostgres, passwords: Path) -> None:
    prepare(server, passwords)

    with login(server, "headrace_cleaner", "the one of headrace_cleaner") as connection:
        topics = {name for (name,) in connection.execute("SELECT name FROM broker.topics")}
    assert {"raw-events", "clean-events", "loaded-events", "predictions", "cleaner.dlq"} <= topics


def test_preparing_again_changes_nothing(server: EmbeddedPostgres, passwords: Path) -> None:
    prepare(server, passwords)

    again = prepare(server, passwords)

    assert (again.returncode, again.stdout.split(",")[0]) == (0, "prepare: 0 migrations applied")


def test_a_missing_password_is_told_before_anything_is_done(server: EmbeddedPostgres, passwords: Path) -> None:
    (passwords / "headrace_loader.password").unlink()

    done = prepare(server, passwords)

    assert done.returncode == 2
    assert "headrace_loader.password" in done.stderr


def test_no_password_is_shown(server: EmbeddedPostgres, passwords: Path) -> None:
    done = prepare(server, passwords)

    assert "the one of" not in done.stdout + done.stderr


def test_the_job_of_the_compose_file_is_this_one() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "docker-compose.yml").read_text())
    job = compose["services"]["migrate"]

    assert job["entrypoint"] == ["python", "/opt/headrace/prepare.py", "/run/secrets"]
    assert "COPY deploy/docker/prepare.py /opt/headrace/prepare.py" in (SCRIPT.parent / "cli.Dockerfile").read_text()
    assert {f"{role}.password" for role in (OWNER, *ROLES)} == set(job["secrets"])
