"""The client of the REST API, against a real HTTP server with answers from the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from headrace.remote.client import ApiClient, NotRunningError, open_api, title_of, wait_for_operation
from shared.errors import ConfigError, HeadraceError
from shared.settings.sections import Settings
from tests.headrace.remote.scripted_service import ScriptedService, scripted_service


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with scripted_service() as server:
        yield server


@pytest.fixture
def client(service: ScriptedService) -> Iterator[ApiClient]:
    client = ApiClient("cleaner", "secret", lambda: [service.url], retry_delay_s=0.01)
    yield client
    client.close()


def test_each_request_has_the_token_and_each_change_its_own_key(service: ScriptedService, client: ApiClient) -> None:
    client.get("/topics", limit=3, state=None)
    client.put("/topics/raw-events/pause", {"reason": "x"})
    client.post("/replays", {"topic": "raw-events"})

    assert [(each.method, each.path, each.token) for each in service.requests] == [
        ("GET", "/v1/topics?limit=3", "Bearer secret"),
        ("PUT", "/v1/topics/raw-events/pause", "Bearer secret"),
        ("POST", "/v1/replays", "Bearer secret"),
    ]
    keys = [each.key for each in service.requests]
    assert keys[0] is None
    assert None not in keys[1:]
    assert keys[1] != keys[2]


def test_a_request_is_repeated_with_the_same_key_after_a_lost_connection(
    service: ScriptedService, client: ApiClient
) -> None:
    service.answers = [None, (503, {"detail": "busy"}), (202, {"id": "1"})]

    assert client.post("/replays", {}) == (202, {"id": "1"})
    assert len(service.requests) == 3
    assert len({each.key for each in service.requests}) == 1


def test_a_request_is_repeated_while_the_broker_is_not_ready_with_one_notice(
    service: ScriptedService, client: ApiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    not_ready = {"type": "urn:headrace:problem:not-ready", "detail": "Kafka prepares"}
    service.answers = [(503, not_ready), (503, not_ready), (202, {"id": "1"})]

    assert client.post("/replays", {}) == (202, {"id": "1"})
    assert len({each.key for each in service.requests}) == 1
    assert capsys.readouterr().err == (
        "headrace: waiting up to 60 s: the cleaner refused the request (503): Kafka prepares\n"
    )


def test_a_refused_request_raises_an_error_with_its_detail(service: ScriptedService, client: ApiClient) -> None:
    service.answers = [(409, {"detail": "another replay is open"})]

    with pytest.raises(HeadraceError, match=r"the cleaner refused the request \(409\): another replay is open"):
        client.post("/replays", {})


def test_an_invalid_request_is_a_config_error(service: ScriptedService, client: ApiClient) -> None:
    service.answers = [(422, {"detail": "no such topic"})]

    with pytest.raises(ConfigError, match="no such topic"):
        client.post("/replays", {})


def test_a_service_that_never_answers_is_reported_as_not_running() -> None:
    client = ApiClient("cleaner", "secret", list, retry_delay_s=0.0)

    with pytest.raises(NotRunningError, match="the cleaner does not answer"):
        client.get("/lag")
    client.close()


def test_a_missing_token_file_is_reported_with_what_creates_it(tmp_path: Path) -> None:
    with (
        pytest.raises(NotRunningError, match=r"no token file .*: `headrace run` creates it"),
        open_api(Settings(data_dir=tmp_path), "cleaner", "http://127.0.0.1:9"),
    ):
        pytest.fail("no service runs at this address")


def test_an_operation_is_polled_until_it_ends(service: ScriptedService, client: ApiClient) -> None:
    operation = {"id": "000000000007", "kind": "replay", "state": "running", "progress": 0.5, "waiting_for": None}
    service.answers = [(200, operation), (200, operation | {"state": "succeeded", "progress": 1.0})]

    assert wait_for_operation(client, operation, Console(quiet=True))["state"] == "succeeded"
    assert [each.path for each in service.requests] == ["/v1/operations/000000000007"] * 2


def test_a_failed_operation_raises_an_error_with_its_cause(service: ScriptedService, client: ApiClient) -> None:
    failed = {"id": "7", "kind": "replay", "state": "failed", "progress": 0.5, "waiting_for": None, "error": "a bug"}
    service.answers = [(200, failed)]

    with pytest.raises(HeadraceError, match="operation 7 failed: a bug"):
        wait_for_operation(client, failed | {"state": "running"}, Console(quiet=True))


@pytest.mark.parametrize(
    ("state", "wanted", "text"),
    [
        ("running", "run", "backfill 7: running"),
        ("running", "pause", "backfill 7: running, will pause after its current step"),
        ("paused", "pause", "backfill 7: paused"),
        ("paused", "run", "backfill 7: paused, will resume"),
        ("paused", "cancel", "backfill 7: paused, will be cancelled"),
        ("cancelled", "cancel", "backfill 7: cancelled"),
    ],
)
def test_the_title_of_an_operation_says_what_was_requested_and_is_not_done_yet(
    state: str, wanted: str, text: str
) -> None:
    assert title_of({"id": "000000000007", "kind": "backfill", "state": state, "wanted": wanted}) == text
