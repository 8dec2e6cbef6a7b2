"""`headrace migrate` prepares an empty database for the services."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from headrace.database.access import ROLES, open_database
from headrace.database.embedded import OWNER, EmbeddedPostgres
from shared.broker.postgres.broker import PostgresBroker
from shared.database.migrations import migrations
from shared.errors import TransientError
from shared.settings.sections import DatabaseSettings, Settings
from tests.contract.records import new_record, read_all, values, write
from tests.waiting import terminate_backends, wait_until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A separate server, because roles and their passwords belong to a whole server."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("prepare"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    for role in ROLES:
        (tmp_path / f"{role}.password").write_text(f"password of {role}\n")
    return tmp_path


def prepare(server: EmbeddedPostgres, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return migrate(
        "--passwords",
        str(directory),
        *options,
        HEADRACE_DATABASE__URL=server.url(),
        HEADRACE_DATABASE__PASSWORD_FILE=str(server.password_file(OWNER)),
    )


def migrate(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")} | variables
    command = [sys.executable, "-m", "headrace", "migrate", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)


def login(server: EmbeddedPostgres, role: str, password: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(server.url(role).replace("@", f":{quote(password)}@", 1))


def test_every_role_gets_the_password_of_its_file(server: EmbeddedPostgres, passwords: Path) -> None:
    result = prepare(server, passwords)

    assert result.returncode == 0, result.stderr
    for role in ROLES:
        login(server, role, f"password of {role}").close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            login(server, role, "another one")


def test_a_service_finds_its_topics(server: EmbeddedPostgres, passwords: Path) -> None:
    prepare(server, passwords)

    with login(server, "headrace_cleaner", "password of headrace_cleaner") as connection:
        topics = {name for (name,) in connection.execute("SELECT name FROM broker.topics")}
    assert {"raw-events", "clean-events", "loaded-events", "predictions", "cleaner.dlq"} <= topics


def test_a_running_service_logs_in_with_a_replaced_password(server: EmbeddedPostgres, passwords: Path) -> None:
    prepare(server, passwords)
    file = passwords / "headrace_cleaner.password"
    settings = DatabaseSettings(url=server.url("headrace_cleaner"), password_file=file)
    with closing(PostgresBroker(settings.conninfo())) as broker:
        write(broker, [new_record("clean-events", "before")], slot="cleaner-0")
        assert values(read_all(broker, "clean-events")) == ["before"]

        file.write_text("a new password")
        prepare(server, passwords)
        with psycopg.connect(server.url_with_password(), autocommit=True) as owner:
            assert terminate_backends(owner, "usename = 'headrace_cleaner'")

        assert wait_until(lambda: read_all(broker, "clean-events"), forgive=TransientError)
        write(broker, [new_record("clean-events", "after")], slot="cleaner-0")
        assert values(read_all(broker, "clean-events")) == ["before", "after"]


def test_a_second_migrate_changes_nothing(server: EmbeddedPostgres, passwords: Path) -> None:
    prepare(server, passwords)

    second = prepare(server, passwords)

    assert (second.returncode, second.stdout.split(",")[0]) == (0, "0 migrations applied")


def test_a_missing_password_file_is_reported_before_any_change(server: EmbeddedPostgres, passwords: Path) -> None:
    (passwords / "headrace_loader.password").unlink()

    result = prepare(server, passwords)

    assert result.returncode == 2
    assert "headrace_loader.password" in result.stderr


def test_no_password_is_printed(server: EmbeddedPostgres, passwords: Path) -> None:
    result = prepare(server, passwords)

    assert "password of" not in result.stdout + result.stderr


def test_without_a_database_url_the_embedded_one_is_prepared(tmp_path: Path) -> None:
    first, second = (migrate("--data-dir", str(tmp_path / "data")) for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert int(first.stdout.split()[0]) > 0
    assert second.stdout.split()[0] == "0"
    assert not EmbeddedPostgres(tmp_path / "data").accepts_connections()


def test_a_broker_that_does_not_answer_is_reported_in_one_line_and_nothing_is_changed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        result = migrate("--data-dir", str(settings.data_dir), "--broker", f"kafka://{address}")

    assert (result.returncode, result.stdout) == (1, "")
    assert f"no Kafka answers at {address}: is it running there?" in result.stderr
    assert result.stderr.count("\n") == 1
    with open_database(settings) as access, access.connect() as connection:
        schemas = {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")}
    assert not {"broker", "facts", "ops"} & schemas


@pytest.mark.parametrize("url", ["kafka:/127.0.0.1:9092", "localhost:9092", "kafka://user:secret@127.0.0.1:9092"])
def test_an_invalid_broker_url_is_refused_before_anything_is_started(tmp_path: Path, url: str) -> None:
    result = migrate("--data-dir", str(tmp_path / "data"), "--broker", url)

    assert result.returncode == 2
    assert "broker.url" in result.stderr
    assert "secret" not in result.stderr
    assert not (tmp_path / "data").exists()


def test_another_kind_of_broker_is_refused_until_it_is_accepted(server: EmbeddedPostgres, passwords: Path) -> None:
    prepare(server, passwords)
    with psycopg.connect(server.url_with_password(), autocommit=True) as connection:
        connection.execute("UPDATE broker.kind SET kind = 'kafka'")

    refused, changed = prepare(server, passwords), prepare(server, passwords, "--new-broker")

    assert refused.returncode == 2
    assert "this database is used with Kafka, and broker.url names 'embedded'" in refused.stderr
    assert changed.returncode == prepare(server, passwords).returncode == 0


def test_the_kind_of_broker_of_an_older_database_is_known_from_its_topics(database: psycopg.Connection[Any]) -> None:
    upgrade = next(each for each in migrations() if each.path.stem == "0003_kind")

    def kind_with(*topics: str) -> list[tuple[str]]:
        database.execute("DROP TABLE broker.kind")
        database.execute("DELETE FROM broker.topics")
        for topic in topics:
            database.execute("INSERT INTO broker.topics (name, partitions, compacted) VALUES (%s, 1, false)", (topic,))
        database.execute(upgrade.path.read_bytes())
        return database.execute("SELECT kind FROM broker.kind").fetchall()

    assert kind_with() == []
    assert kind_with("raw-events", "clean-events") == [("embedded",)]
    assert kind_with("kafka:raw-events", "kafka:clean-events") == [("kafka",)]
    assert kind_with("raw-events", "kafka:raw-events") == []


def test_a_check_says_what_is_missing_and_changes_nothing(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with psycopg.connect(server.url_with_password(database="postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE checked")
    login = {
        "HEADRACE_DATABASE__URL": server.url(database="checked"),
        "HEADRACE_DATABASE__PASSWORD_FILE": str(server.password_file(OWNER)),
    }

    empty = migrate("--check", **login)
    migrate(**login)
    complete = migrate("--check", **login)
    with psycopg.connect(server.url_with_password(database="checked"), autocommit=True) as connection:
        connection.execute("DELETE FROM ops.migrations WHERE area = 'shared/ops' AND number = 2")
        connection.execute("INSERT INTO ops.migrations (area, number, sha256) VALUES ('shared/ops', 99, '')")
    one_missing = migrate("--check", **login)
    nowhere = migrate("--check", "--data-dir", str(tmp_path / "none"))

    assert (empty.returncode, complete.returncode, one_missing.returncode, nowhere.returncode) == (1, 0, 1, 1)
    assert "migrations are missing" in empty.stderr
    assert complete.stdout == "database and topics are prepared for this version\n"
    assert "1 migrations are missing (shared/ops 0002_incarnations)" in one_missing.stderr
    assert "there is no database" in nowhere.stderr
    assert not (tmp_path / "none").exists()
