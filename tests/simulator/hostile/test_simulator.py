"""A simulator that attacks its client, as a server and as a program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from simulator.hostile.mix import AttackMix, attacks_of
from simulator.publisher import Publisher
from simulator.season import SeasonPlan, SimulatedSeason
from simulator.server import FailureInjection, SimulatorServer
from simulator.stages import PublicationSchedule
from tests.serving import serving
from tests.simulator.conftest import SettableClock
from tests.waiting import DEADLINE_S

ROOT = Path(__file__).parents[3]
DOCUMENT = "/programs/v2/2026/20260109.json"


@pytest.fixture
def publisher() -> Publisher:
    return Publisher(SimulatedSeason(SeasonPlan(days=10, venues=(5,))), PublicationSchedule())


@pytest.fixture
def client(publisher: Publisher, clock: SettableClock, request: pytest.FixtureRequest) -> Iterator[httpx2.Client]:
    attacks = AttackMix(1.0, 1, attacks_of(request.param, ()), elapsed_s=lambda: 0.0)
    server = SimulatorServer(("127.0.0.1", 0), publisher, clock, FailureInjection(0.0, 1), attacks=attacks)
    limits = httpx2.Limits(max_keepalive_connections=0)  # an attacker closes the connection without an announcement
    with serving(server), httpx2.Client(base_url=server.url, timeout=DEADLINE_S, limits=limits) as client:
        yield client


@pytest.mark.parametrize("client", [["unavailable"]], indirect=True)
def test_documents_are_attacked_and_health_and_truth_are_not(client: httpx2.Client) -> None:
    paths = [DOCUMENT, "/programs/v2/today.json", "/nothing", "/healthz", "/truth/v1/2026/20260109.json"]

    assert [client.get(path).status_code for path in paths] == [503, 503, 503, 200, 200]


@pytest.mark.parametrize("client", [["published-in-future"]], indirect=True)
def test_an_attack_is_made_from_the_honest_document(client: httpx2.Client) -> None:
    answer = client.get(DOCUMENT)

    assert answer.headers["last-modified"].endswith("2100 23:59:59 GMT")
    assert len(answer.json()["programs"]) == 12


@pytest.mark.parametrize("client", [["tls-alert"], ["no-response"], ["silence"]], indirect=True)
def test_a_connection_is_attacked(client: httpx2.Client) -> None:
    with pytest.raises(httpx2.HTTPError):
        client.get(DOCUMENT, timeout=0.5)


@pytest.mark.parametrize("client", [["silence"]], indirect=True)
def test_a_server_ends_while_an_attack_is_under_way(client: httpx2.Client) -> None:
    with pytest.raises(httpx2.TimeoutException):
        client.get(DOCUMENT, timeout=0.2)


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulator", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_the_program_lists_the_attacks() -> None:
    listed = run("--list-attacks")

    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [a.name for a in attacks_of(None, ())]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--hostile", "2"], "share"),
        (["--hostile", "0.5", "--attacks", "tickle"], "--list-attacks"),
        (["--attacks", "reset"], "--hostile"),
        (["--recorded", "/nowhere"], "manifest.json"),
        (["--recorded", "/nowhere", "--rate", "5", "--from", "2020-01-01"], "--rate"),
    ],
)
def test_a_wrong_option_gives_an_error_of_one_line(options: list[str], word: str) -> None:
    ended = run(*options)

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert word in ended.stderr
