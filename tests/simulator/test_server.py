"""The simulator over HTTP, and as a program."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2
import pytest

from simulator.publisher import Publisher
from simulator.season import SeasonPlan, SimulatedSeason
from simulator.server import FailureInjection, SimulatorServer
from simulator.stages import PublicationSchedule
from tests.processes import killed_at_end
from tests.serving import serving
from tests.simulator.conftest import SettableClock

PLAN = SeasonPlan(days=20, venues=(5,))
DEADLINE_S = 60.0
ROOT = Path(__file__).parents[2]


def run_server(clock: SettableClock, failing: FailureInjection) -> Iterator[SimulatorServer]:
    publisher = Publisher(SimulatedSeason(PLAN), PublicationSchedule())
    with serving(SimulatorServer(("127.0.0.1", 0), publisher, clock, failing)) as server:
        yield server


@pytest.fixture
def client(clock: SettableClock) -> Iterator[httpx2.Client]:
    """The client of a server that never fails."""
    for server in run_server(clock, FailureInjection(0.0, seed=1)):
        with httpx2.Client(base_url=server.url, timeout=DEADLINE_S) as client:
            yield client


@pytest.fixture
def failing_client(clock: SettableClock) -> Iterator[httpx2.Client]:
    for server in run_server(clock, FailureInjection(0.3, seed=1)):
        with httpx2.Client(base_url=server.url, timeout=DEADLINE_S) as client:
            yield client


@pytest.mark.parametrize("feed", ["programs", "previews", "results"])
def test_a_document_comes_as_json_with_tag_and_instant(feed: str, client: httpx2.Client) -> None:
    answer = client.get(f"/{feed}/v2/2026/20260109.json")

    assert answer.status_code == 200
    assert len(answer.json()[feed]) == 12
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["etag"].startswith('"')
    assert parsedate_to_datetime(answer.headers["last-modified"]) < datetime(2026, 1, 10, tzinfo=UTC)


def test_an_unknown_or_future_date_is_not_found(client: httpx2.Client) -> None:
    paths = ["/programs/v2/2026/20260111.json", "/programs/v2/2024/20240101.json", "/nothing"]

    assert [client.get(path).status_code for path in paths] == [404, 404, 404]


def test_an_unchanged_document_is_not_sent_again(client: httpx2.Client) -> None:
    tag = client.get("/results/v2/today.json").headers["etag"]

    again = client.get("/results/v2/today.json", headers={"If-None-Match": tag})

    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == tag


def test_a_changed_document_is_sent_with_a_new_tag(client: httpx2.Client, clock: SettableClock) -> None:
    clock.at = datetime(2026, 1, 10, 1, 0, tzinfo=UTC)
    before = client.get("/results/v2/today.json")
    clock.at = datetime(2026, 1, 10, 6, 0, tzinfo=UTC)

    after = client.get("/results/v2/today.json", headers={"If-None-Match": before.headers["etag"]})

    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]
    assert after.content != before.content


def test_today_changes_with_the_clock(client: httpx2.Client, clock: SettableClock) -> None:
    dates = []
    for minute in (0, 5, 30):
        clock.at = datetime(2026, 1, 10, 15, minute, tzinfo=UTC)
        dates.append(client.get("/programs/v2/today.json").json()["programs"][0]["race_date"])

    assert dates == ["2026-01-10", "2026-01-10", "2026-01-11"]


def test_a_head_request_has_the_size_and_no_body(client: httpx2.Client) -> None:
    path = "/programs/v2/2026/20260109.json"

    head = client.head(path)

    assert head.content == b""
    assert int(head.headers["content-length"]) == len(client.get(path).content)


def test_a_share_of_the_requests_fails_and_a_retry_helps(failing_client: httpx2.Client) -> None:
    answers = [failing_client.get("/programs/v2/2026/20260109.json").status_code for _ in range(300)]

    assert set(answers) == {200, 503}
    assert 60 < answers.count(503) < 120


def test_which_requests_fail_depends_on_the_seed_alone() -> None:
    first, same, other = ([FailureInjection(0.3, seed).fails(count) for count in range(100)] for seed in (4, 4, 5))

    assert first == same
    assert first != other


def test_health_and_truth_never_fail(failing_client: httpx2.Client) -> None:
    paths = ["/healthz", "/truth/v1/2026/20260109.json"] * 30

    assert {failing_client.get(path).status_code for path in paths} == {200}


def test_a_client_that_disconnects_leaves_no_traceback(
    client: httpx2.Client, clock: SettableClock, capfd: pytest.CaptureFixture[str]
) -> None:
    host, port = client.base_url.host, client.base_url.port
    assert port is not None
    for _ in range(5):
        with socket.create_connection((host, port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(b"GET /programs/v2/2026/20260109.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)

    assert client.get("/healthz").status_code == 200
    assert "Traceback" not in capfd.readouterr().err


def run_simulator(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "simulator", "--venues", "1", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_program_prints_its_address_serves_and_stops_on_a_signal(end: signal.Signals, tmp_path: Path) -> None:
    port_file = tmp_path / "url"
    epoch = str(time.time())
    with killed_at_end(
        run_simulator(
            "--clock-start",
            "2026-01-03T12:00:00+09:00",
            "--clock-speed",
            "60",
            "--clock-epoch",
            epoch,
            "--port-file",
            str(port_file),
            "--fail-rate",
            "0",
        )
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.removeprefix("simulator: ").strip()
        with httpx2.Client(base_url=url, timeout=DEADLINE_S) as client:
            today = client.get("/programs/v2/today.json").json()["programs"][0]["race_date"]
            process.send_signal(end)

            assert process.wait(DEADLINE_S) == 0

        assert line.startswith("simulator: http://127.0.0.1:")
        assert port_file.read_text().strip() == url
        assert today == "2026-01-03"
        assert os.listdir(tmp_path) == ["url"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--clock-speed", "60"], "--clock-start"),
        (["--clock-start", "2026-01-03T12:00:00", "--clock-speed", "60", "--clock-epoch", "0"], "zone"),
        (["--days", "0"], "day"),
        (["--oddness", "-1"], "rates"),
        (["--fail-rate", "1"], "failing"),
    ],
)
def test_a_wrong_option_gives_an_error_of_one_line(options: list[str], word: str) -> None:
    with killed_at_end(run_simulator(*options)) as process:
        _, error = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 2
    assert error.count("\n") == 1
    assert word in error


def test_an_occupied_port_gives_an_error_of_one_line() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with killed_at_end(run_simulator("--port", str(listener.getsockname()[1]))) as process:
            _, error = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 2
    assert error.count("\n") == 1
    assert "port" in error
