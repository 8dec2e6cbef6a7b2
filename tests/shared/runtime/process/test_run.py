"""A real service process: its start, its logs and metrics, its stop, and its end after a crash."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from headrace.database.embedded import OWNER, EmbeddedPostgres
from shared.runtime.process.run import GRACE_S
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
Database = psycopg.Connection[tuple[Any, ...]]
Start = Callable[..., "Service"]


class Service:
    """A process of small_service.py in its own directory."""

    def __init__(self, directory: Path, environ: dict[str, str]) -> None:
        self.directory = directory
        self._errors = directory / "stderr"
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.shared.runtime.small_service"], cwd=directory, env=environ, stderr=errors
            )

    def stderr(self) -> str:
        return self._errors.read_text()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stderr().splitlines() if line.endswith("}")]

    def event(self, name: str) -> dict[str, Any]:
        return wait_until(lambda: next((line for line in self.lines() if line["event"] == name), None) or {})

    def wait(self) -> int:
        return self.process.wait(GRACE_S + DEADLINE_S)


@pytest.fixture
def environ(postgres: EmbeddedPostgres, database_url: str, repository: Path) -> dict[str, str]:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(repository),
        "HEADRACE_DATABASE__URL": postgres.url(database=str(name)),
        "HEADRACE_DATABASE__PASSWORD_FILE": str(postgres.password_file(OWNER)),
    }


@pytest.fixture
def start(tmp_path: Path, environ: dict[str, str]) -> Iterator[Start]:
    services: list[Service] = []

    def start(behaviour: str = "works", **more: str) -> Service:
        services.append(Service(tmp_path, environ | {"BEHAVIOUR": behaviour} | more))
        return services[-1]

    yield start
    for service in services:
        service.process.kill()
        service.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_open_unit_and_ends_cleanly(start: Start, database: Database, number: int) -> None:
    service = start()
    url = service.event("started")["admin_url"]
    ready = httpx2.get(f"{url}/readyz", timeout=DEADLINE_S)
    row = wait_until(lambda: database.execute("SELECT service, pid, admin_url FROM ops.replicas").fetchone())

    service.process.send_signal(number)

    assert service.wait() == 0
    assert ready.status_code == 200
    assert row == ("cleaner", service.process.pid, url)
    assert [(service.directory / name).read_text() for name in ("unit", "export")] == ["finished", "finished"]
    assert database.execute("SELECT FROM ops.replicas").rowcount == 0
    assert [line["event"] for line in service.lines()] == ["started", "stopping", "stopped"]


def test_a_second_signal_has_no_effect(start: Start) -> None:
    service = start()
    service.event("started")

    service.process.send_signal(signal.SIGINT)
    service.process.send_signal(signal.SIGTERM)

    assert service.wait() == 0


def test_build_and_service_show_in_the_metrics(start: Start) -> None:
    url = start().event("started")["admin_url"]

    assert 'headrace_build_info{python="3' in httpx2.get(f"{url}/metrics", timeout=DEADLINE_S).text


def test_a_crash_of_the_loop_ends_the_process_with_its_cause(start: Start, database: Database) -> None:
    service = start("crashes")

    assert service.wait() == 1
    assert "RuntimeError: lost postgresql://me:***@h/d" in service.event("part_crashed")["exception"]
    assert "hunter2" not in service.stderr()
    row = database.execute("SELECT state, ready, detail FROM ops.replicas").fetchone()
    assert row == ("stopped", False, {"cause": "RuntimeError: lost postgresql://me:***@h/d"})


def test_a_crash_of_background_work_ends_the_process(start: Start) -> None:
    service = start("sender crashes")

    assert service.wait() == 1
    assert service.event("part_crashed")["part"] == "crashing_sender"
    assert [(service.directory / name).read_text() for name in ("unit", "export")] == ["finished", "finished"]


def test_background_work_that_returns_early_ends_the_process(start: Start) -> None:
    service = start("sender returns")

    assert service.wait() == 1
    assert "returning_sender returned before it was stopped" in service.event("part_crashed")["exception"]


def test_a_loop_that_does_not_stop_in_time_is_cut_off(start: Start) -> None:
    service = start("hangs")
    service.event("started")

    service.process.terminate()

    assert service.wait() == 1
    assert service.event("stop_timed_out")["grace_s"] == 0.3
    assert not (service.directory / "unit").exists()


def test_a_loop_that_gets_stuck_ends_the_process(start: Start) -> None:
    service = start("gets stuck")

    assert service.wait() == 1
    assert service.event("loop_hung")["hung_s"] == 1.0
    assert not (service.directory / "unit").exists()


def test_a_loop_that_ticks_is_not_ended_even_if_the_process_was_stopped_for_long(start: Start) -> None:
    service = start("ticks")
    service.event("started")

    service.process.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        service.process.wait(4.0)
    service.process.send_signal(signal.SIGCONT)
    with pytest.raises(subprocess.TimeoutExpired):
        service.process.wait(0.5)
    service.process.terminate()

    assert service.wait() == 0


def test_a_wrong_setting_is_one_line_and_an_exit_code_of_its_own(start: Start) -> None:
    service = start(HEADRACE_BROKER__PARTITIONS="none")

    assert service.wait() == 2
    (line,) = service.stderr().splitlines()
    assert line.startswith("cleaner: environment variable HEADRACE_BROKER__PARTITIONS: broker.partitions: ")


def test_an_occupied_port_is_one_line_and_an_exit_code_of_its_own(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        service = start(HEADRACE_ADMIN__PORT=str(port))

        assert service.wait() == 2

    (line,) = service.stderr().splitlines()
    assert line.startswith(f"cleaner: cannot listen on 127.0.0.1:{port} ")


def test_a_service_that_cannot_start_exits_with_its_cause(start: Start) -> None:
    service = start("cannot start")

    assert service.wait() == 1
    assert "cannot connect" in service.event("start_failed")["exception"]


def test_a_service_keeps_running_while_the_database_is_unavailable(start: Start) -> None:
    service = start(HEADRACE_DATABASE__URL="postgresql://nobody@/none?host=/nowhere")
    service.event("heartbeat_failed")

    service.process.terminate()

    assert service.wait() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the parent death signal")
def test_a_service_ends_with_its_supervisor(tmp_path: Path, environ: dict[str, str]) -> None:
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-m', 'tests.shared.runtime.small_service'], stderr=open('stderr', 'w'))\n"
        "sys.stdin.read()"
    )
    supervised = environ | {"BEHAVIOUR": "works", "HEADRACE_SUPERVISED": "1"}
    supervisor = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=supervised, stdin=subprocess.PIPE)
    wait_until(lambda: '"started"' in (tmp_path / "stderr").read_text() if (tmp_path / "stderr").exists() else False)

    supervisor.kill()
    supervisor.communicate()

    wait_until(lambda: '"stopped"' in (tmp_path / "stderr").read_text())
    assert (tmp_path / "unit").read_text() == "finished"
