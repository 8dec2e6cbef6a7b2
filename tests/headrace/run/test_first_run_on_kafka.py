"""Against a Kafka that was started a moment ago and never used: stock settings, no internal topics yet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headrace.database.access import open_database, prepare
from headrace.database.data_dir import DataDir
from shared.settings.sections import Settings
from shared.settings.values import read_secret
from tests.headrace.runs import command, status, write_archive
from tests.kafka.delayed_server import HELD, release
from tests.kafka.jars import KafkaMissingError
from tests.kafka.server import STOCK, KafkaServer
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

# A machine that is slow is what these tests are about.
LIMIT_S = 300.0
# Less than a command waits.
SOON_S = 45.0
WAITING = "waiting up to 60 s: "
CLEANER = (sys.executable, "-m", "services.cleaner")


@contextmanager
def broker(directory: Path, settings: Mapping[str, object]) -> Iterator[KafkaServer]:
    """One of the test's own. No client has used a group or a transaction on it."""
    directory.mkdir()
    try:
        server = KafkaServer(directory, settings=settings)
    except KafkaMissingError as missing:
        pytest.skip(str(missing))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[KafkaServer]:
    with broker(tmp_path / "kafka", STOCK) as server:
        yield server


@pytest.fixture
def held(tmp_path: Path) -> Iterator[KafkaServer]:
    with broker(tmp_path / "kafka", HELD) as server:
        yield server


def url_of(server: KafkaServer) -> str:
    return f"kafka://{server.bootstrap}"


def headrace(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "headrace", *arguments]


def done(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(headrace(*arguments), capture_output=True, text=True, timeout=LIMIT_S, check=False)


def until(condition: Callable[[], Any], why: Callable[[], object]) -> Any:
    try:
        return wait_until(condition, deadline_s=LIMIT_S)
    except AssertionError as error:
        error.add_note(str(why()))
        raise


@contextmanager
def process(
    directory: Path, arguments: list[str], environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process, and the file of its output."""
    output = directory / f"output-{len(list(directory.glob('output-*')))}"
    with output.open("wb") as out:
        started = subprocess.Popen(arguments, stdout=out, stderr=out, env={**os.environ, **(environment or {})})
    try:
        yield started, output
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(LIMIT_S)


@contextmanager
def cleaner(directory: Path, url: str) -> Iterator[tuple[Path, subprocess.Popen[bytes], Path]]:
    """Database, topics, and one service, started by itself; the data directory, its process and what it says."""
    data_dir = DataDir(directory / "data")
    data_dir.create()
    settings = Settings.model_validate({"data_dir": data_dir.path, "broker": {"url": url}})
    with open_database(settings) as access:
        prepare(access, settings)
        login = access.service("cleaner")
        environment = {
            "HEADRACE_DATABASE__URL": login.url,
            "HEADRACE_DATABASE__PASSWORD_FILE": str(login.password_file),
            "HEADRACE_BROKER__URL": url,
            "HEADRACE_DATA_DIR": str(data_dir.path),
            "HEADRACE_ADMIN__TOKEN_FILE": str(data_dir.create_token()),
        }
        with process(directory, list(CLEANER), environment) as (started, output):
            yield data_dir.path, started, output


def row_of_the_cleaner(data_dir: Path) -> dict[str, Any]:
    return next(row for row in status(data_dir) if row["service"] == "cleaner")


def test_the_first_run_waits_for_the_group_coordinator_and_ends_well(held: KafkaServer, tmp_path: Path) -> None:
    """It says once that it waits, and warns that this Kafka forgets offsets early."""
    archive, data_dir = write_archive(tmp_path / "archive"), tmp_path / "data"
    arguments = command(archive, data_dir, "--once", "--json", "--broker", url_of(held))

    with process(tmp_path, arguments) as (run, output):
        until(lambda: WAITING in output.read_text() or run.poll() is not None, output.read_text)
        release(held)
        status = run.wait(LIMIT_S)

    printed = output.read_text()
    assert status == 0, printed
    assert printed.count(WAITING) == 1
    assert "warning: Kafka forgets the offsets of a stopped service after 7 days" in printed
    assert "(KAFKA_OFFSETS_RETENTION_MINUTES) of each Kafka node to 129600" in printed
    summaries = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert summaries[-1]["stages"]["loader"]["records"] > 0


@pytest.mark.long
def test_a_run_that_waits_is_stopped_at_once(held: KafkaServer, tmp_path: Path) -> None:
    archive, data_dir = write_archive(tmp_path / "archive"), tmp_path / "data"

    with process(tmp_path, command(archive, data_dir, "--broker", url_of(held))) as (run, output):
        until(lambda: WAITING in output.read_text() or run.poll() is not None, output.read_text)
        run.send_signal(signal.SIGINT)
        status = run.wait(SOON_S)

    assert status == 130, output.read_text()


@pytest.mark.long
def test_commands_before_any_run(fresh: KafkaServer, tmp_path: Path) -> None:
    where = ("--data-dir", str(tmp_path / "data"), "--broker", url_of(fresh))

    migrated, listed, audited = (done(name, *where) for name in ("migrate", "topics", "audit"))
    shown = done("status", *where[:2])

    for each in (migrated, listed, audited, shown):
        assert each.returncode == 0, each.stderr
    assert audited.stderr.count(WAITING) == 1


@pytest.mark.long
def test_a_broker_that_takes_connections_and_does_not_answer_yet_is_waited_for(
    fresh: KafkaServer, tmp_path: Path
) -> None:
    arguments = headrace("migrate", "--data-dir", str(tmp_path / "data"), "--broker", url_of(fresh))
    fresh.freeze()

    with process(tmp_path, arguments) as (migrate, output):
        try:
            until(lambda: WAITING in output.read_text() or migrate.poll() is not None, output.read_text)
        finally:
            fresh.thaw()
        status = migrate.wait(LIMIT_S)

    assert status == 0, output.read_text()
    assert "does not answer yet" in output.read_text()


def test_a_service_started_by_itself_gets_to_work(fresh: KafkaServer, tmp_path: Path) -> None:
    with cleaner(tmp_path, url_of(fresh)) as (data_dir, service, output):
        until(lambda: row_of_the_cleaner(data_dir)["ready"], output.read_text)
        lag = done("lag", "cleaner", "--data-dir", str(data_dir))

        assert lag.returncode == 0, lag.stderr
        assert row_of_the_cleaner(data_dir)["pid"] == service.pid


@pytest.mark.long
def test_rest_tells_to_come_again_and_the_command_does(held: KafkaServer, tmp_path: Path) -> None:
    with cleaner(tmp_path, url_of(held)) as (data_dir, service, output):
        address = until(lambda: row_of_the_cleaner(data_dir)["admin_url"], output.read_text)
        token = read_secret(data_dir / "token")
        answer = httpx2.get(f"{address}/v1/lag", headers={"Authorization": f"Bearer {token}"}, timeout=SOON_S)
        topics = httpx2.get(f"{address}/v1/topics", headers={"Authorization": f"Bearer {token}"}, timeout=SOON_S)
        with process(tmp_path, headrace("lag", "cleaner", "--data-dir", str(data_dir))) as (lag, words):
            until(lambda: WAITING in words.read_text() or lag.poll() is not None, words.read_text)
            release(held)
            lag_status = lag.wait(LIMIT_S)

        assert (answer.status_code, answer.json()["type"]) == (503, "urn:headrace:problem:not-ready")
        assert int(answer.headers["Retry-After"]) > 0
        assert "Kafka is still preparing the coordinator" in answer.json()["detail"]
        assert topics.status_code == 200
        assert lag_status == 0, words.read_text()
        assert words.read_text().count(WAITING) == 1
        until(lambda: row_of_the_cleaner(data_dir)["ready"], output.read_text)
        assert row_of_the_cleaner(data_dir)["pid"] == service.pid
