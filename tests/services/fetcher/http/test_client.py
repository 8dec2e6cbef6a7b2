"""Addresses, connections, TLS and proxies of an exchange."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.fetcher.http.addresses import Lookup
from services.fetcher.http.client import HttpClient
from services.fetcher.sources.documents import RefusedResponse, SourceResponse
from shared.errors import TransientError
from simulator.hostile.attacks import ATTACKS
from simulator.hostile.script import JSON, Action, Attack, HostileRequest, response
from simulator.hostile.server import HostileServer
from tests.certificates import make_certificate
from tests.services.fetcher.site import Answer, Handler, Site, page
from tests.services.fetcher.synthetic_documents import body, event, made_source
from tests.serving import serving
from tests.waiting import DEADLINE_S, wait_until

BODY = body("cards", [event(1)])
PATH = "/cards.json"
LIMITS = {"connect_timeout_s": DEADLINE_S, "read_timeout_s": DEADLINE_S, "total_timeout_s": DEADLINE_S}


@contextmanager
def client(
    base_url: str,
    lookup: Lookup | None = None,
    proxies: Mapping[str, str] | None = None,
    redirects: tuple[str, ...] = (),
    **http: Any,
) -> Iterator[HttpClient]:
    source = made_source(base_url, http=LIMITS | http, redirects={"hosts": list(redirects)})
    made = HttpClient(source, lookup, proxies=proxies)
    try:
        yield made
    finally:
        made.close()


def get(base_url: str, lookup: Lookup | None = None, **http: Any) -> SourceResponse:
    with client(base_url, lookup, **http) as made:
        return made.get(base_url + PATH, None)


def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def test_a_public_name_with_a_private_address_is_refused_before_a_connection(site: Site) -> None:
    """So a source cannot reach this machine by changing the address of its name."""
    site.pages[PATH] = BODY

    with pytest.raises(RefusedResponse, match=r"data\.example has the private address 127\.0\.0\.1") as refused:
        get(f"http://data.example:{site.server_port}", loopback)

    assert (site.requests, refused.value.reason) == ([], "address")


def test_one_private_address_of_several_is_enough_to_refuse() -> None:
    with pytest.raises(RefusedResponse, match=r"private address 10\.0\.0\.1"):
        get("http://data.example", lambda host, port: ["8.8.8.8", "10.0.0.1"])


def test_a_private_address_of_a_public_name_can_be_allowed(site: Site) -> None:
    site.pages[PATH] = BODY

    assert get(f"http://data.example:{site.server_port}", loopback, allow_private=True).body == BODY


def test_the_next_address_is_used_if_one_does_not_accept(site: Site) -> None:
    site.pages[PATH] = BODY

    def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    assert get(f"http://data.example:{site.server_port}", lookup, allow_private=True).body == BODY


def test_a_lookup_without_an_end_ends_with_the_exchange() -> None:
    ended = threading.Event()

    def lookup(host: str, port: int) -> list[str]:
        assert ended.wait(DEADLINE_S)
        return []

    try:
        with pytest.raises(TransientError, match=r"data\.example was not resolved"):
            get("http://data.example", lookup, total_timeout_s=0.2)
    finally:
        ended.set()


def test_a_connection_that_is_never_accepted_ends_with_the_exchange() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # more than the queue of the listener holds
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())

        with pytest.raises(TransientError, match=r"not complete within 0\.5 s"):
            get(f"http://127.0.0.1:{listener.getsockname()[1]}", total_timeout_s=0.5)


def test_connections_are_used_again(site: Site) -> None:
    ports: list[int] = []

    def answer(handler: Handler) -> None:
        ports.append(handler.client_address[1])
        page(handler)

    site.pages[PATH] = BODY
    site.answers[PATH].extend([answer] * 3)

    with client(site.url) as made:
        for _ in range(3):
            made.get(site.url + PATH, None)

    assert len(set(ports)) == 1


def test_a_closed_client_makes_no_request(site: Site) -> None:
    with client(site.url) as made:
        made.close()
        with pytest.raises(TransientError, match="closed"):
            made.get(site.url + PATH, None)

    assert site.requests == []


@pytest.mark.parametrize("tls", [False, True])
def test_a_request_in_progress_ends_when_the_client_is_closed(
    tmp_path: Path, trust: Callable[[Path], None], tls: bool
) -> None:
    certificate = make_certificate(tmp_path)
    trust(certificate.file)
    server = HostileServer(
        ("127.0.0.1", 0), lambda _: ATTACKS["body-drip"], lambda _: BODY, certificate.context if tls else None
    )
    with serving(server), client(server.url, total_timeout_s=10 * DEADLINE_S) as made, ThreadPoolExecutor(1) as pool:
        request = pool.submit(made.get, server.url + PATH, None)
        wait_until(lambda: server.requests > 0)
        made.close()

        with pytest.raises(TransientError):
            request.result(DEADLINE_S)


def test_received_bytes_are_bounded_whatever_they_unpack_to(site: Site) -> None:
    site.pages[PATH] = b" " * 300_000

    with pytest.raises(RefusedResponse, match="at most 200,000 bytes from the server") as refused:
        get(site.url, max_wire_bytes=200_000)

    assert refused.value.reason == "size"


def test_the_response_of_a_refusal_is_kept(site: Site) -> None:
    site.answers[PATH].append(lambda handler: handler.answer(301, b"moved", Location="http://other.example/"))

    with pytest.raises(RefusedResponse) as refused:
        get(site.url)

    kept = refused.value.response
    assert kept is not None
    assert (kept.url, kept.status, kept.body) == (site.url + PATH, 301, b"moved")
    assert ("Location", "http://other.example/") in kept.headers


def redirect_to(url: str) -> Answer:
    return lambda handler: handler.answer(302, Location=url)


def test_a_redirect_to_a_listed_host_is_followed(site: Site) -> None:
    site.answers[PATH].append(redirect_to(f"http://cdn.example:{site.server_port}/moved.json"))
    site.pages["/moved.json"] = BODY

    with client(
        f"http://data.example:{site.server_port}",
        loopback,
        redirects=(f"cdn.example:{site.server_port}",),
        allow_private=True,
    ) as made:
        answer = made.get(f"http://data.example:{site.server_port}{PATH}", None)

    assert (answer.body, answer.url) == (BODY, f"http://cdn.example:{site.server_port}/moved.json")


def test_a_listed_host_with_a_private_address_is_refused(site: Site) -> None:
    def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "cdn.example" else ["8.8.8.8"]

    with (
        client("http://data.example", lookup, redirects=("cdn.example",)) as made,
        pytest.raises(RefusedResponse, match=r"cdn\.example has the private address"),
    ):
        made.get("http://cdn.example/", None)


@contextmanager
def tls_server(folder: Path, attack: Attack, trusted: Callable[[Path], None]) -> Iterator[HostileServer]:
    certificate = make_certificate(folder)
    trusted(certificate.file)
    server = HostileServer(("127.0.0.1", 0), lambda _: attack, lambda _: BODY, certificate.context)
    with serving(server):
        yield server


def honest(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON, request.body)


HONEST = Attack("honest", "the document", honest)


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    return lambda file: monkeypatch.setenv("SSL_CERT_FILE", str(file))


def test_a_trusted_server_is_fetched_from_over_tls(tmp_path: Path, trust: Callable[[Path], None]) -> None:
    with tls_server(tmp_path, HONEST, trust) as server:
        assert get(server.url).body == BODY


def test_a_certificate_that_is_not_trusted_is_a_transient_error(tmp_path: Path) -> None:
    with (
        tls_server(tmp_path, HONEST, lambda _: None) as server,
        pytest.raises(TransientError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        get(server.url)


def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path, trust: Callable[[Path], None]) -> None:
    with (
        tls_server(tmp_path, ATTACKS["redirect-to-lower-scheme"], trust) as server,
        pytest.raises(RefusedResponse, match="from https to http"),
    ):
        get(server.url)


@pytest.mark.parametrize("name", ["endless-header-drip", "body-drip", "silence"])
def test_the_deadline_holds_over_tls(tmp_path: Path, trust: Callable[[Path], None], name: str) -> None:
    with (
        tls_server(tmp_path, ATTACKS[name], trust) as server,
        pytest.raises(TransientError, match=r"not complete within 1\.5 s"),
    ):
        get(server.url, total_timeout_s=1.5)


def test_a_proxy_is_used_for_a_public_host(site: Site) -> None:
    site.pages["http://data.example/cards.json"] = BODY

    with client("http://data.example", proxies={"http": site.url}) as made:
        assert made.get("http://data.example/cards.json", None).body == BODY


def test_no_proxy_is_used_for_this_machine(site: Site) -> None:
    site.pages[PATH] = BODY

    with client(site.url, proxies={"http": "http://127.0.0.1:9"}) as made:
        assert made.get(site.url + PATH, None).body == BODY
