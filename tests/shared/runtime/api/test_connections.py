"""Clients that hold, drip, flood or misuse connections of the admin API, over real sockets."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry

from shared.errors import ConfigError
from shared.runtime.api.connection_table import CLOSED, DEFAULT_LIMITS, ConnectionLimits
from shared.runtime.api.context import AdminContext
from shared.runtime.api.server import AdminServer, admin_server
from shared.runtime.metrics import Metrics
from shared.settings.admin import AdminSettings
from tests.certificates import Certificate, make_certificate
from tests.shared.runtime.api.admin_apps import (
    FILE_TOKEN,
    UNREACHABLE_DATABASE,
    auth_headers,
    cleaner_settings,
    write_token_file,
)
from tests.shared.runtime.views import GivenView
from tests.waiting import DEADLINE_S, wait_until

SHORT = ConnectionLimits(max_connections=8, head_s=0.5, body_s=0.5, idle_s=0.5, send_s=0.5)
GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
MEBIBYTE = 1024 * 1024


def things(_context: AdminContext) -> APIRouter:
    """GET /v1/large returns more than all buffers hold; POST /v1/things reads a body."""
    router = APIRouter()

    @router.get("/large")
    def get_large() -> str:
        return "x" * (64 * MEBIBYTE)

    @router.post("/things")
    async def create_thing(request: Request) -> int:
        return len(await request.body())

    return router


class Server:
    def __init__(self, server: AdminServer, registry: CollectorRegistry) -> None:
        self.port = server.port
        self.url = server.url
        self._registry = registry

    def count(self, status: int | str) -> float:
        return self._registry.get_sample_value("headrace_http_requests_total", {"status": str(status)}) or 0.0

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        connection.sendall(sent)
        return connection


@contextmanager
def serve(directory: Path, limits: ConnectionLimits, admin: dict[str, Any] | None = None) -> Iterator[Server]:
    metrics = Metrics()
    settings = cleaner_settings(UNREACHABLE_DATABASE, write_token_file(directory))
    settings = settings.model_copy(update={"admin": settings.admin.model_copy(update=admin or {})})
    context = AdminContext(settings, GivenView("cleaner"), routers=[things])
    with admin_server(context, metrics.registry, metrics.count_request, metrics.count_response, limits) as server:
        yield Server(server, metrics.registry)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server ends the connection."""
    received = b""
    with connection:
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
    return received


def problem_in(response: bytes) -> dict[str, Any]:
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"connection: close" in head.lower()
    problem: dict[str, Any] = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    assert problem["detail"]
    return problem


@pytest.mark.parametrize(
    "sent", [b"", b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: "]
)
def test_a_request_whose_head_does_not_arrive_is_ended_with_a_problem(tmp_path: Path, sent: bytes) -> None:
    with serve(tmp_path, SHORT) as server:
        problem = problem_in(read_all(server.connect(sent)))

        assert problem["status"] == 408
        assert "head of the request did not arrive within 0.5 s" in problem["detail"]
        assert server.count(408) == 1


def test_dripping_does_not_extend_the_deadline(tmp_path: Path) -> None:
    with serve(tmp_path, SHORT) as server, server.connect(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n") as connection:

        def drip() -> bool:
            try:
                connection.sendall(b"x")
            except OSError:
                return True
            return server.count(408) == 1

        wait_until(drip, "the end of dripping headers")
        assert server.count(408) == 1


def test_a_second_request_on_a_connection_has_the_deadline_too(tmp_path: Path) -> None:
    with serve(tmp_path, SHORT) as server:
        responses = read_all(server.connect(GET + b"GET /live"))

        assert responses.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 408" in responses


@pytest.mark.parametrize("token", [FILE_TOKEN, "no token"])
def test_a_body_that_does_not_arrive_is_ended(tmp_path: Path, token: str) -> None:
    """Without a token the response comes first; the rest of the body is still limited in time."""
    head = (
        f"POST /v1/things HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n[1"
    )
    with serve(tmp_path, SHORT) as server:
        response = read_all(server.connect(head.encode()))

        assert response.startswith(b"HTTP/1.1 408" if token == FILE_TOKEN else b"HTTP/1.1 401")


def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    with serve(tmp_path, SHORT) as server:
        assert read_all(server.connect(GET)).startswith(b"HTTP/1.1 200")


def test_a_client_that_reads_no_response_loses_its_connection(tmp_path: Path) -> None:
    request = f"GET /v1/large HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {FILE_TOKEN}\r\n\r\n"
    with serve(tmp_path, SHORT) as server, server.connect(request.encode()):
        wait_until(lambda: server.count(CLOSED), "the end of the connection")


def test_half_open_connections_give_way_to_clients_and_leave_no_descriptors(tmp_path: Path) -> None:
    """240 connections that send half a request. While they are held, a client gets its requests answered."""
    limits = replace(DEFAULT_LIMITS, max_connections=16, head_s=DEADLINE_S, young_s=0.0)
    before = descriptors()
    with serve(tmp_path, limits) as server, ExitStack() as held:
        for _ in range(240):
            held.enter_context(server.connect(b"GET / HTTP/1.1\r\n"))
        wait_until(lambda: server.count(CLOSED) >= 240 - 16, "the end of those that waited longest")

        with httpx2.Client(base_url=server.url) as client:
            answers = [client.get("/livez").status_code for _ in range(10)]

        assert answers == [200] * 10
    wait_until(lambda: descriptors() <= before, "the end of all descriptors")


def test_a_connection_beyond_the_limit_gets_503_while_the_others_are_young(tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, max_connections=8, head_s=DEADLINE_S, young_s=DEADLINE_S)
    with serve(tmp_path, limits) as server, ExitStack() as held:
        for _ in range(8):
            held.enter_context(server.connect())

        response = read_all(server.connect(GET))

        problem = problem_in(response)
        assert problem["status"] == 503
        assert "admin.max_connections" in problem["detail"]
        assert b"retry-after: 1" in response.lower()
        assert server.count(503) == 1


def test_more_requests_at_a_time_than_allowed_get_503_and_probes_do_not(tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, max_connections=8, body_s=DEADLINE_S)
    head = (
        f"POST /v1/things HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {FILE_TOKEN}\r\nContent-Length: 9\r\n"
        "Expect: 100-continue\r\nContent-Type: application/json\r\n\r\n"
    )
    with serve(tmp_path, limits) as server, ExitStack() as held:
        for _ in range(7):
            assert held.enter_context(server.connect(head.encode())).recv(12) == b"HTTP/1.1 100"
        with httpx2.Client(base_url=server.url, headers=auth_headers(FILE_TOKEN)) as client:
            refused, live = client.get("/v1/status"), client.get("/livez")

        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "too many requests" in refused.json()["detail"]
        assert live.status_code == 200


def test_connections_leave_the_reserved_descriptors_to_the_pipeline(tmp_path: Path) -> None:
    with serve(tmp_path, replace(DEFAULT_LIMITS, descriptors=0)) as server:
        assert read_all(server.connect(GET)) == b""
        assert server.count(CLOSED) == 1


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 17_000 + b"\r\n\r\n", 431),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000, 431),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 4000 + b"\r\n", 431),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
    ],
)
def test_oversized_and_malformed_requests_get_a_problem_that_is_counted(
    tmp_path: Path, request_head: bytes, status: int
) -> None:
    with serve(tmp_path, DEFAULT_LIMITS) as server:
        problem = problem_in(read_all(server.connect(request_head)))

        assert problem["status"] == status
        assert server.count(status) == 1


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


def test_with_a_certificate_the_server_speaks_https(tmp_path: Path, certificate: Certificate) -> None:
    tls = {"tls_cert_file": certificate.file, "tls_key_file": certificate.key}
    with (
        serve(tmp_path, DEFAULT_LIMITS, tls) as server,
        httpx2.Client(base_url=server.url, verify=ssl.create_default_context(cafile=certificate.file)) as client,
    ):
        assert server.url.startswith("https://127.0.0.1:")
        assert client.get("/v1/status", headers=auth_headers(FILE_TOKEN)).status_code == 200


def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(
    tmp_path: Path, certificate: Certificate
) -> None:
    """One segment has both, as from a client that sends without a pause."""
    tls = {"tls_cert_file": certificate.file, "tls_key_file": certificate.key}
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=certificate.file)
    client = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with serve(tmp_path, DEFAULT_LIMITS, tls) as server, server.connect() as connection:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(65_536))
        client.write(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        connection.sendall(outgoing.read())
        while b"200 OK" not in (received := readable(client)):
            data = connection.recv(65_536)
            assert data, "the server closed the connection"
            incoming.write(data)

    assert received.startswith(b"HTTP/1.1 200 OK")


def readable(client: ssl.SSLObject) -> bytes:
    """What has been decrypted; empty if more must be received."""
    try:
        return client.read(65_536)
    except ssl.SSLWantReadError:
        return b""


def test_a_handshake_that_does_not_come_is_ended(tmp_path: Path, certificate: Certificate) -> None:
    tls = {"tls_cert_file": certificate.file, "tls_key_file": certificate.key}
    with serve(tmp_path, SHORT, tls) as server:
        assert read_all(server.connect()) == b""
        # The client may see the end before the server counts it.
        wait_until(lambda: server.count(CLOSED) == 1, "the count of the connection")


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, certificate: Certificate) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    tls = {"tls_cert_file": tmp_path / "bad.pem", "tls_key_file": certificate.key}

    with pytest.raises(ConfigError, match=r"admin.tls_cert_file .*bad.pem"), serve(tmp_path, SHORT, tls):
        raise AssertionError("the server started")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "headrace.example"])
def test_an_address_beyond_loopback_without_tls_is_refused(host: str, certificate: Certificate) -> None:
    with pytest.raises(ValueError, match="behind_proxy"):
        AdminSettings(host=host)

    assert AdminSettings(host=host, behind_proxy=True).scheme == "http"
    assert AdminSettings(host=host, tls_cert_file=certificate.file, tls_key_file=certificate.key).scheme == "https"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
