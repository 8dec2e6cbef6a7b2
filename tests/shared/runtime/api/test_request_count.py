"""Requests are counted by method, template of the route and status, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from shared.runtime.api.context import AdminContext
from shared.runtime.api.server import admin_server
from shared.runtime.metrics import Metrics
from tests.shared.runtime.api.admin_apps import (
    FILE_TOKEN,
    UNREACHABLE_DATABASE,
    auth_headers,
    cleaner_settings,
    write_token_file,
)
from tests.shared.runtime.views import GivenView


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def client(metrics: Metrics, tmp_path: Path) -> Iterator[httpx2.Client]:
    context = AdminContext(cleaner_settings(UNREACHABLE_DATABASE, write_token_file(tmp_path)), GivenView("cleaner"))
    with (
        admin_server(context, metrics.registry, metrics.count_request) as server,
        httpx2.Client(base_url=server.url, headers=auth_headers(FILE_TOKEN), timeout=60) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("method", "path", "token", "route", "status"),
    [
        ("GET", "/livez", True, "/livez", "200"),
        ("GET", "/v1/status", True, "/v1/status", "200"),
        ("GET", "/v1/operations/000000000017", True, "/v1/operations/{operation_id}", "503"),
        ("GET", "/v1/operations/000000000017", False, "/v1", "401"),
        ("POST", "/v1/status", True, "/v1/status", "405"),
        ("GET", "/v1/no/such/path", True, "/v1", "404"),
        ("GET", "/wp-login.php", False, "none", "404"),
        ("BREW", "/livez", False, "/livez", "405"),
    ],
)
def test_a_request_is_counted_under_its_template(
    client: httpx2.Client, metrics: Metrics, method: str, path: str, token: bool, route: str, status: str
) -> None:
    if not token:
        del client.headers["Authorization"]

    client.request(method, path)

    counts = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "headrace_admin_requests_total"
    }
    assert counts == {("other" if method == "BREW" else method, route, status): 1}
