"""Every error is a problem response that says what to do."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from datetime import date
from typing import Annotated
from uuid import UUID

import httpx2
import pytest
from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel

from shared.errors import ConfigError, TransientError
from shared.ops.operations import NotPossible
from shared.runtime.api.context import AdminContext
from shared.runtime.api.validation import MAX_BODY_BYTES
from tests.shared.runtime.api.admin_apps import (
    FILE_TOKEN,
    UNREACHABLE_DATABASE,
    assert_problem,
    cleaner_settings,
    serve_admin_app,
    write_token_file,
)
from tests.waiting import wait_until

JSON = {"Content-Type": "application/json"}


class ItemRequest(BaseModel):
    days: int


def failing(context: AdminContext) -> APIRouter:
    """Endpoints that raise errors, and endpoints with parameters and a body."""
    router = APIRouter()
    errors = {
        "internal": RuntimeError("the secret cause"),
        "unavailable": TransientError("no answer from postgresql://me:hunter2@h/d"),
        "not-possible": NotPossible("it is over: start another one"),
        "invalid": ConfigError("there is no topic x: choose y"),
    }

    @router.get("/raises/{name}")
    def raise_error(name: str) -> None:
        raise errors[name]

    @router.get("/items")
    def get_items(count: int) -> int:
        return count

    @router.get("/days")
    def get_days(since: AwareDatetime | None = None, day: Annotated[date | None, Query()] = None) -> str:
        return f"{since} {day}"

    @router.post("/items")
    def create_item(item: ItemRequest) -> ItemRequest:
        return item

    return router


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """One client for all tests: the app has no state."""
    with serve_admin_app(
        cleaner_settings(UNREACHABLE_DATABASE, write_token_file(tmp_path_factory.mktemp("admin"))), routers=[failing]
    ) as client:
        yield client


def test_an_unknown_path_is_a_problem(client: httpx2.Client) -> None:
    for path in ("/v2/status", "/v1/nothing", "/v1/operations/"):
        assert path in assert_problem(client.get(path), 404, "not-found")


def test_a_wrong_method_is_a_problem_that_names_the_allowed_ones(client: httpx2.Client) -> None:
    for path, allowed in (("/livez", "GET"), ("/v1/status", "GET"), ("/v1/items", "GET, POST")):
        answer = client.request("DELETE", path)

        assert allowed in assert_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == allowed


def test_the_request_id_of_the_caller_is_returned(client: httpx2.Client) -> None:
    for path in ("/livez", "/nowhere", "/v1/status"):
        assert client.get(path, headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"


def test_an_unsafe_request_id_is_replaced(client: httpx2.Client) -> None:
    answer = client.get("/livez", headers={"X-Request-Id": 'a"b\tc'})

    assert UUID(answer.headers["x-request-id"])


def test_an_internal_error_is_a_problem_and_its_cause_is_only_logged(
    client: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/v1/raises/internal", headers={"X-Request-Id": "mine-2"})

    assert "secret" not in answer.text
    assert_problem(answer, 500, "internal-error")
    assert answer.headers["x-request-id"] == "mine-2"
    assert wait_until(lambda: "the secret cause" in caplog.text)


def test_an_unavailable_dependency_is_a_temporary_problem(client: httpx2.Client) -> None:
    answer = client.get("/v1/raises/unavailable")

    assert assert_problem(answer, 503, "unavailable") == "no answer from postgresql://me:***@h/d"
    assert answer.headers["retry-after"] == "1"


def test_an_unavailable_database_is_a_temporary_problem(client: httpx2.Client) -> None:
    answer = client.get("/v1/operations")

    assert "the database is unavailable" in assert_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"


def test_not_possible_is_a_conflict_and_a_config_error_is_invalid_input(client: httpx2.Client) -> None:
    conflict, invalid = client.get("/v1/raises/not-possible"), client.get("/v1/raises/invalid")

    assert assert_problem(conflict, 409, "conflict") == "it is over: start another one"
    assert assert_problem(invalid, 422, "invalid-input") == "there is no topic x: choose y"


def test_invalid_input_is_a_problem_that_names_the_field(client: httpx2.Client) -> None:
    query, body = client.get("/v1/items?count=many"), client.post("/v1/items", json={"days": "many"})

    assert assert_problem(query, 422, "invalid-input").startswith("query.count: ")
    assert assert_problem(body, 422, "invalid-input").startswith("body.days: ")


def test_an_unknown_parameter_is_named(client: httpx2.Client) -> None:
    with_parameters, without = client.get("/v1/operations?stat=failed"), client.get("/v1/status?a=&b=1")

    assert_problem(with_parameters, 422, "invalid-input")
    assert with_parameters.json()["detail"] == "no such parameter: 'stat'; expected before, kind, limit, state"
    assert without.json()["detail"] == "no such parameter: 'a', 'b'; this endpoint has no parameters"


def test_a_number_is_not_accepted_as_a_time(client: httpx2.Client) -> None:
    for query in ("since=0.5", "since=1769850000", "day=20260131", "day=0", "since="):
        name = query.partition("=")[0]
        assert f"query.{name}: expected 2026-01-31" in assert_problem(
            client.get(f"/v1/days?{query}"), 422, "invalid-input"
        )

    assert (
        client.get("/v1/days?since=2026-01-31T09:00Z&day=2026-01-31").json() == "2026-01-31 09:00:00+00:00 2026-01-31"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"days": NaN}',
        b'{"days": "\xff"}',
        b"\xff\xfe",
        b'{"days": 1e999}',
        b'{"days": "\\ud800"}',
        b'{"days": "a\\u0000b"}',
        b'{"a\\u0000b": 1}',
        b"[" * 100_000,
        b"[" * 500 + b"]" * 500,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b'{"days": ' + b"9" * 6000 + b"}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_malformed_body_is_invalid(client: httpx2.Client, body: bytes) -> None:
    for method, path in (("POST", "/v1/items"), ("POST", "/v1/operations/1/cancel")):
        assert_problem(client.request(method, path, content=body, headers=JSON), 422, "invalid-input")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonish", ""])
def test_a_body_of_another_content_type_is_refused(client: httpx2.Client, kind: str) -> None:
    answer = client.post("/v1/items", content=b'{"days": 1}', headers={"Content-Type": kind})

    assert "Content-Type: application/json" in assert_problem(answer, 415, "not-json")


def test_json_with_a_charset_is_json(client: httpx2.Client) -> None:
    kind = {"Content-Type": "application/json; charset=utf-8"}

    assert client.post("/v1/items", content=b'{"days": 1}', headers=kind).json() == {"days": 1}


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
@pytest.mark.parametrize("size_bytes", [MAX_BODY_BYTES + 1, 20 * MAX_BODY_BYTES])
def test_a_huge_body_is_refused_however_it_is_sent(client: httpx2.Client, size_bytes: int, chunked: bool) -> None:
    piece = b" " * 50_000

    def pieces() -> Iterator[bytes]:
        for _ in range(size_bytes // len(piece)):
            yield piece
        yield b" " * (size_bytes % len(piece))

    answer = client.post("/v1/items", content=pieces() if chunked else b" " * size_bytes, headers=JSON)

    assert str(MAX_BODY_BYTES) in assert_problem(answer, 413, "body-too-large")


def test_a_body_of_the_maximum_size_is_accepted(client: httpx2.Client) -> None:
    body = b'{"days": 1}'.ljust(MAX_BODY_BYTES)

    assert client.post("/v1/items", content=body, headers=JSON).json() == {"days": 1}


def test_a_huge_body_is_refused_before_it_is_sent(client: httpx2.Client) -> None:
    url = client.base_url
    with socket.create_connection((url.host, url.port or 80), 10) as connection:
        connection.sendall(
            f"POST /v1/items HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {FILE_TOKEN}\r\n"
            "Expect: 100-continue\r\n"
            f"Content-Type: application/json\r\nContent-Length: {10**9}\r\n\r\n".encode()
        )
        assert re.match(rb"HTTP/1.1 413 ", connection.recv(100))


@pytest.mark.parametrize("path", ["/v1/operations%00", "/v1/operations?kind=a%00b", "/livez?%00"])
def test_a_null_in_a_url_is_invalid(client: httpx2.Client, path: str) -> None:
    assert "%00" in assert_problem(client.get(path), 422, "invalid-input")


@pytest.mark.parametrize("key", [b"", b"two words", b"x" * 201, b"\xe9", b"\x7f"])
def test_an_invalid_idempotency_key_is_refused(client: httpx2.Client, key: bytes) -> None:
    for method, path in (("POST", "/v1/items"), ("PUT", "/v1/topics/raw-events/pause")):
        answer = client.request(method, path, headers={b"Idempotency-Key": key})

        assert "1 to 200 visible ASCII" in assert_problem(answer, 422, "invalid-input")
