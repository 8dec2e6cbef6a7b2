"""The command's way to the REST API: against a real HTTP server that answers as the test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from headrace.remote.client import ApiClient, NotRunningError, open_api, wait_for_operation
from shared.errors import ConfigError, HeadraceError
from shared.settings.sections import Settings


class Asked(NamedTuple):
    method: str
    path: str
    token: str | None
    key: str | None
    body: Any


class Service(ThreadingHTTPServer):
    """Gives its answers in turn, the last one for ever; an answer of None closes the line without a word."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[Asked] = []
        self.answers: list[tuple[int, Any] | None] = [(200, {})]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        headers = self.headers
        self.server.asked.append(
            Asked(self.command, self.path, headers["Authorization"], headers["Idempotency-Key"], body)
        )
        answers = self.server.answers
        said = answers.pop(0) if len(answers) > 1 else answers[0]
        if said is None:
            self.close_connection = True
            return
        content = json.dumps(said[1]).encode()
        self.send_response(said[0])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = answer  # noqa: N815  # the base class's names

    def log_message(self, *_: Any) -> None:
        """Nothing to stderr."""


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def asked(service: Service) -> Iterator[ApiClient]:
    asking = ApiClient("cleaner", "secret", lambda: [service.url], retry_delay_s=0.01)
    yield asking
    asking.close()


def test_each_request_brings_the_token_and_each_change_a_key_of_its_own(service: Service, asked: ApiClient) -> None:
    asked.get("/topics", limit=3, state=None)
    asked.put("/topics/raw-events/pause", {"reason": "x"})
    asked.post("/replays", {"topic": "raw-events"})

    assert [(each.method, each.path, each.token) for each in service.asked] == [
        ("GET", "/v1/topics?limit=3", "Bearer secret"),
        ("PUT", "/v1/topics/raw-events/pause", "Bearer secret"),
        ("POST", "/v1/replays", "Bearer secret"),
    ]
    keys = [each.key for each in service.asked]
    assert keys[0] is None
    assert None not in keys[1:]
    assert keys[1] != keys[2]


def test_a_line_that_broke_is_tried_again_under_the_same_key(service: Service, asked: ApiClient) -> None:
    service.answers = [None, (503, {"detail": "busy"}), (202, {"id": "1"})]

    assert asked.post("/replays", {}) == (202, {"id": "1"})
    assert len(service.asked) == 3
    assert len({each.key for each in service.asked}) == 1


def test_a_service_whose_broker_is_not_ready_is_asked_again_and_that_is_said_once(
    service: Service, asked: ApiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    not_ready = {"type": "urn:headrace:problem:not-ready", "detail": "Kafka prepares"}
    service.answers = [(503, not_ready), (503, not_ready), (202, {"id": "1"})]

    assert asked.post("/replays", {}) == (202, {"id": "1"})
    assert len({each.key for each in service.asked}) == 1
    assert capsys.readouterr().err == (
        "headrace: waiting up to 60 s: the cleaner refused the request (503): Kafka prepares\n"
    )


def test_what_was_refused_is_said_with_its_detail(service: Service, asked: ApiClient) -> None:
    service.answers = [(409, {"detail": "another replay is open"})]

    with pytest.raises(HeadraceError, match=r"the cleaner refused the request \(409\): another replay is open"):
        asked.post("/replays", {})


def test_what_can_never_be_right_counts_as_a_wrong_option(service: Service, asked: ApiClient) -> None:
    service.answers = [(422, {"detail": "no such topic"})]

    with pytest.raises(ConfigError, match="no such topic"):
        asked.post("/replays", {})


def test_a_service_that_never_answers_is_told_so() -> None:
    asking = ApiClient("cleaner", "secret", list, retry_delay_s=0.0)

    with pytest.raises(NotRunningError, match="the cleaner does not answer"):
        asking.get("/lag")
    asking.close()


def test_a_data_directory_without_a_token_says_where_one_comes_from(tmp_path: Path) -> None:
    with (
        pytest.raises(NotRunningError, match=r"no token file .*: `headrace run` creates it"),
        open_api(Settings(data_dir=tmp_path), "cleaner", "http://127.0.0.1:9"),
    ):
        pytest.fail("there is nobody")


def test_an_operation_is_followed_until_it_is_over(service: Service, asked: ApiClient) -> None:
    operation = {"id": "000000000007", "kind": "replay", "state": "running", "progress": 0.5, "waiting_for": None}
    service.answers = [(200, operation), (200, operation | {"state": "succeeded", "progress": 1.0})]

    assert wait_for_operation(asked, operation, Console(quiet=True))["state"] == "succeeded"
    assert [each.path for each in service.asked] == ["/v1/operations/000000000007"] * 2


def test_an_operation_that_failed_is_an_error_with_its_cause(service: Service, asked: ApiClient) -> None:
    failed = {"id": "7", "kind": "replay", "state": "failed", "progress": 0.5, "waiting_for": None, "error": "a bug"}
    service.answers = [(200, failed)]

    with pytest.raises(HeadraceError, match="operation 7 failed: a bug"):
        wait_for_operation(asked, failed | {"state": "running"}, Console(quiet=True))
