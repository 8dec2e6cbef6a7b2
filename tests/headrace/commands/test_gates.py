"""The command `headrace gates` against the fetcher's API, with the rights of the fetcher's role."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.cli import command
from headrace.database.embedded import EmbeddedPostgres
from services.fetcher.gate.breaker import FAILURES
from services.fetcher.gate.postgres_gate import PostgresGate
from services.fetcher.gate.state import Granted, RequestOutcome, TurnRequest, Wait
from services.fetcher.sources.declaration import Budget
from tests.services.apps import server_of
from tests.shared.runtime.api.admin_apps import FILE_TOKEN, as_role, write_token_file

HOST = "127.0.0.1:8790"
Gates = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gates(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Gates]:
    login = as_role(postgres, database_url, "headrace_fetcher")
    with server_of("fetcher", database_url, login, tmp_path, FILE_TOKEN) as server:

        def run(*arguments: str) -> tuple[int, str, str]:
            capfd.readouterr()
            options = ["--url", server.url, "--token-file", str(write_token_file(tmp_path))]
            code = command(["gates", *arguments, *options])
            return code, *capfd.readouterr()

        yield run


@pytest.fixture
def gate(postgres: EmbeddedPostgres, database_url: str) -> Iterator[PostgresGate]:
    """The gate of the fetcher, with the rights of its role."""
    conninfo = as_role(postgres, database_url, "headrace_fetcher").conninfo()
    with closing(PostgresGate(conninfo, HOST, Budget(max_retry_after_s=60))) as gate:
        yield gate


def take(gate: PostgresGate, turn: str) -> Granted | Wait:
    return gate.take(TurnRequest(turn, "cards", live=False, lease_s=60.0))


def test_without_requests_there_are_no_gates(gates: Gates) -> None:
    assert gates("list") == (0, "no requests yet\n", "")


def test_a_wait_that_the_server_asked_for_is_shown_and_reset(gates: Gates, gate: PostgresGate) -> None:
    take(gate, "a")
    gate.report(RequestOutcome("a", "cards", "throttled", 600.0))

    shown = json.loads(gates("list", "--output", "json")[1])["gates"][0]
    assert (shown["host"], shown["waits_for"], shown["requested_wait_s"], shown["is_cut"]) == (
        HOST,
        "retry-after",
        600.0,
        True,
    )

    assert gates("reset", HOST)[0] == 0
    assert isinstance(take(gate, "b"), Granted)


def test_an_open_breaker_is_shown_and_closed(gates: Gates, gate: PostgresGate) -> None:
    for number in range(FAILURES):
        take(gate, f"{number}")
        gate.report(RequestOutcome(f"{number}", "cards", "failure"))

    assert "open" in gates()[1]
    shown = json.loads(gates("--output", "json")[1])["gates"][0]
    assert (shown["breaker"], shown["waits_for"], shown["failures"]) == ("open", "breaker", {"cards": FAILURES})

    code, out, _ = gates("reset", HOST)

    assert (code, out) == (0, f"{HOST}: requests are made again, within the budget\n")
    assert json.loads(gates("--output", "json")[1])["gates"][0]["breaker"] == "closed"


def test_an_unknown_host_cannot_be_reset(gates: Gates) -> None:
    code, _, error = gates("reset", "other.example")

    assert code == 1
    assert "there is no gate of other.example" in error
