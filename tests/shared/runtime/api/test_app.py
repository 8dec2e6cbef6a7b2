"""The admin app over real HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from shared.errors import ConfigError
from shared.runtime.api.server import AdminServer
from tests.shared.runtime.api.admin_apps import (
    UNREACHABLE_DATABASE,
    assert_problem,
    cleaner_settings,
    serve_admin_app,
    write_token_file,
)
from tests.shared.runtime.views import GivenView


@pytest.fixture
def view() -> GivenView:
    return GivenView(service="cleaner", detail={"units": 3})


@pytest.fixture
def client(view: GivenView, tmp_path: Path) -> Iterator[httpx2.Client]:
    """A client of an admin app without a database."""
    with serve_admin_app(cleaner_settings(UNREACHABLE_DATABASE, write_token_file(tmp_path)), view) as client:
        yield client


def test_probes_and_metrics_need_no_token(client: httpx2.Client) -> None:
    del client.headers["Authorization"]

    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert "headrace_rebalances_total 0.0" in client.get("/metrics").text


def test_a_loop_that_does_not_tick_is_not_live(client: httpx2.Client, view: GivenView) -> None:
    view.is_alive = False

    assert "has not ticked" in assert_problem(client.get("/livez"), 503, "unavailable")


def test_a_service_that_is_not_ready_gives_the_reason(client: httpx2.Client, view: GivenView) -> None:
    view.readiness = (False, "the database is unavailable")

    assert assert_problem(client.get("/readyz"), 503, "unavailable") == "not ready: the database is unavailable"
    assert client.get("/livez").status_code == 200


def test_the_status_is_returned_with_a_token(client: httpx2.Client) -> None:
    status = client.get("/v1/status").json()

    assert status == {"service": "cleaner", "replica": "r", "state": "running", "detail": {"units": 3}}


def test_the_api_has_an_openapi_document_and_no_pages_that_load_scripts(client: httpx2.Client) -> None:
    description = client.get("/openapi.json").json()

    assert {"/livez", "/readyz", "/metrics", "/v1/status", "/v1/operations", "/v1/audit"} <= set(description["paths"])
    assert "Problem" in description["components"]["schemas"]
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_a_small_response_does_not_wait_for_an_acknowledgement(client: httpx2.Client) -> None:
    """TCP delays small packets by 40 ms unless TCP_NODELAY is set."""
    durations_s = sorted(client.get("/livez").elapsed.total_seconds() for _ in range(21))

    assert durations_s[10] < 0.03


def test_an_occupied_port_is_reported_in_one_line() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(ConfigError) as caught:
            AdminServer(FastAPI(), "127.0.0.1", port)

    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port} for the admin app (Address already in use); "
        "choose another admin.host or admin.port, or port 0 for a free one"
    )


def test_a_stopped_server_releases_its_port() -> None:
    with AdminServer(FastAPI()) as server:
        port = server.port

    with AdminServer(FastAPI(), "127.0.0.1", port) as again:
        assert again.port == port
