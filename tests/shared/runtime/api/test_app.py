"""The admin app, asked over real HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from shared.errors import ConfigError, TransientError
from shared.runtime.api.problems import install
from shared.runtime.api.server import AdminServer
from shared.runtime.metrics import Metrics
from tests.shared.runtime.api.desks import assert_problem, served
from tests.shared.runtime.views import BrokenView, GivenView

TOKEN = {"Authorization": "Bearer open sesame"}
LAG = {"topic": "raw-events", "partition": 0, "position": 3, "end": 5, "records": 2}


@pytest.fixture
def view() -> GivenView:
    return GivenView(detail={"units": 3}, partitions=[LAG])


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("open sesame\n")
    return file


@pytest.fixture
def client(view: GivenView, token_file: Path) -> Iterator[httpx.Client]:
    server = admin_server(view, Metrics().registry, AdminSettings(token_file=token_file))
    with server, httpx.Client(base_url=server.url) as client:
        yield client


def assert_problem(answer: httpx.Response, status: int, kind: str) -> str:
    body = answer.json()
    assert answer.status_code == body["status"] == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert body["type"] == f"urn:headrace:problem:{kind}"
    assert body["title"].lower().replace(" ", "-") == kind
    assert body["request_id"] == answer.headers["x-request-id"]
    detail: str = body["detail"]
    return detail


def test_probes_and_metrics_need_no_token(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert "headrace_rebalances_total 0.0" in client.get("/metrics").text


def test_a_loop_that_does_not_tick_is_not_live(client: httpx.Client, view: GivenView) -> None:
    view.is_alive = False

    assert "has not ticked" in assert_problem(client.get("/livez"), 503, "unavailable")


def test_a_service_that_is_not_ready_says_why(client: httpx.Client, view: GivenView) -> None:
    view.readiness = (False, "the database is away")

    assert assert_problem(client.get("/readyz"), 503, "unavailable") == "not ready: the database is away"
    assert client.get("/livez").status_code == 200


def test_status_and_lag_are_told_to_who_has_the_token(client: httpx.Client) -> None:
    status, lag = (client.get(path, headers=TOKEN).json() for path in ("/v1/status", "/v1/lag"))

    assert status == {"service": "loader", "replica": "r", "state": "running", "detail": {"units": 3}}
    assert lag == [LAG]


@pytest.mark.parametrize("path", ["/v1/status", "/v1/lag"])
@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({}, "send the token of admin.token_file: Authorization: Bearer TOKEN"),
        ({"Authorization": "Basic eDp5"}, "send the token of admin.token_file: Authorization: Bearer TOKEN"),
        ({"Authorization": "Bearer guess"}, "this is not the token of admin.token_file"),
    ],
)
def test_without_the_right_token_nothing_is_told(
    client: httpx.Client, path: str, headers: dict[str, str], detail: str
) -> None:
    answer = client.get(path, headers=headers)

    assert assert_problem(answer, 401, "unauthorized") == detail
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_without_a_token_file_nobody_gets_in_and_learns_how_to(view: GivenView) -> None:
    server = admin_server(view, Metrics().registry, AdminSettings())

    with server:
        answer = httpx.get(f"{server.url}/v1/status", headers={"Authorization": "Bearer guess"})
        livez = httpx.get(f"{server.url}/livez")

    assert "HEADRACE_ADMIN__TOKEN_FILE" in assert_problem(answer, 401, "unauthorized")
    assert livez.status_code == 200


def test_an_unknown_path_is_a_problem(client: httpx.Client) -> None:
    assert "/v2/status" in assert_problem(client.get("/v2/status"), 404, "not-found")


def test_a_wrong_method_is_a_problem_that_names_the_right_one(client: httpx.Client) -> None:
    answer = client.post("/livez")

    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"


def test_the_callers_request_id_comes_back(client: httpx.Client) -> None:
    for path in ("/livez", "/nowhere"):
        assert client.get(path, headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"


def test_a_request_id_that_could_harm_a_log_is_replaced(client: httpx.Client) -> None:
    answer = client.get("/livez", headers={"X-Request-Id": 'a"b\tc'})

    assert UUID(answer.headers["x-request-id"])


def test_a_fault_of_ours_is_a_problem_that_keeps_its_cause_to_the_log(
    token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = admin_server(BrokenView(), Metrics().registry, AdminSettings(token_file=token_file))

    with server:
        answer = httpx.get(f"{server.url}/v1/lag", headers=TOKEN | {"X-Request-Id": "mine-2"})

    assert "secret" not in answer.text
    assert_problem(answer, 500, "internal-error")
    assert answer.headers["x-request-id"] == "mine-2"
    assert "the secret cause" in caplog.text


def test_a_dependency_that_is_away_is_a_problem_that_may_pass(token_file: Path) -> None:
    view = BrokenView(error=TransientError("no answer from postgresql://me:hunter2@h/d"))

    with admin_server(view, Metrics().registry, AdminSettings(token_file=token_file)) as server:
        answer = httpx.get(f"{server.url}/v1/lag", headers=TOKEN)

    assert assert_problem(answer, 503, "unavailable") == "no answer from postgresql://me:***@h/d"
    assert answer.headers["retry-after"] == "1"


def test_wrong_input_is_a_problem_that_names_it() -> None:
    app = FastAPI()
    install(app)

    @app.get("/days")
    def days(count: int) -> int:
        return count

    with AdminServer(app) as server:
        answer = httpx.get(f"{server.url}/days?count=many")

    assert assert_problem(answer, 422, "invalid-input").startswith("query.count: ")


def test_the_api_is_described_and_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    description = client.get("/openapi.json").json()

    assert {"/livez", "/readyz", "/metrics", "/v1/status", "/v1/lag"} == set(description["paths"])
    assert "Problem" in description["components"]["schemas"]
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_an_occupied_port_is_told_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError) as caught:
            AdminServer(FastAPI(), "127.0.0.1", port)

    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port} for the admin app (Address already in use); "
        "choose another admin.host or admin.port, or port 0 for a free one"
    )


def test_a_stopped_server_gives_its_port_back() -> None:
    with AdminServer(admin_app(GivenView(), Metrics().registry, None)) as server:
        port = server.port

    with AdminServer(FastAPI(), "127.0.0.1", port) as again:
        assert again.port == port
