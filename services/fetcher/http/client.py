"""Requests a document from a source's server: one exchange with one time limit, including its redirects."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NoReturn
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2

from services.fetcher.http.address_policy import is_private_host
from services.fetcher.http.addresses import Lookup, Resolver
from services.fetcher.http.decoding import BodyCollector
from services.fetcher.http.headers import PLAIN, decoded, encoding_of, problem_of, value_of
from services.fetcher.http.redirects import MAX_REDIRECTS, STATUSES, redirect_target
from services.fetcher.http.stream import BoundedBackend, ExchangeBounds, TooManyBytes, only_public
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import Refusal, RefusedResponse, SourceResponse
from shared.errors import InvalidDocument, TransientError

OK = 200
# Of the body of an error, for a person. A whole short body also lets the connection be used again.
ERROR_BODY_BYTES = 64 * 1024
KEEP_ALIVE_S = 30.0
# Each part (a chunk, or what one read returned) costs some 10 microseconds, even if it has only one byte.
MAX_PARTS = 50_000
FIXED_HEADERS = [
    (b"User-Agent", b"headrace"),
    (b"Accept", b"application/json"),
    # No other encoding is accepted: its unpacked size could not be limited while unpacking.
    (b"Accept-Encoding", b"gzip"),
]


class HttpClient:
    """Thread-safe; connections are used again. No cookies, no logins of a .netrc file.

    httpcore2 is the part of httpx2 that speaks HTTP. It is used directly, because only it accepts a network backend.
    """

    def __init__(
        self,
        source: Source,
        lookup: Lookup | None = None,
        elapsed_s: Callable[[], float] = time.monotonic,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        """`lookup` replaces the system's names, `elapsed_s` the monotonic clock, `proxies` those of the environment."""
        self._base_url = source.base_url
        self._hosts: Collection[str] = source.redirects.hosts
        self._limits = source.http
        self._elapsed_s = elapsed_s
        host = httpx2.URL(source.base_url).host
        proxy = _proxy_of(source.base_url, host, proxies)
        allows_private = source.http.allow_private or is_private_host(host) or proxy is not None
        self._backend = BoundedBackend(Resolver(lookup), (lambda *_: True) if allows_private else only_public)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            proxy=proxy,
            max_connections=source.concurrency + source.live_concurrency,
            keepalive_expiry=KEEP_ALIVE_S,
            network_backend=self._backend,
        )
        self._lock = threading.Lock()
        self._is_closed = False
        self._in_progress = 0

    def get(self, url: str, tag: str | None) -> SourceResponse:
        """The response to a GET, after at most MAX_REDIRECTS redirects. `tag` is sent as If-None-Match.

        Raises TransientError if there is no complete response, RefusedResponse if it breaks a limit or a rule.
        """
        headers = [*FIXED_HEADERS, *([(b"If-None-Match", tag.encode("ascii"))] if tag else [])]
        bounds = ExchangeBounds(self._limits.total_timeout_s, self._limits.max_wire_bytes, self._elapsed_s)
        with self._request(), self._backend.exchange(bounds), self._translated(url, bounds):
            next_url = url
            for _ in range(MAX_REDIRECTS + 1):
                response = self._get(next_url, headers, bounds)
                if response.status not in STATUSES:
                    return response
                with _refusing(response, Refusal.REDIRECT):
                    location = value_of(response.headers, "location")
                    next_url = redirect_target(self._base_url, next_url, location, self._hosts)
            raise RefusedResponse(f"expected at most {MAX_REDIRECTS} redirects, got more", Refusal.REDIRECT, response)

    def close(self) -> None:
        """Ends requests in progress and closes the connections."""
        with self._lock:
            self._is_closed = True
            is_idle = not self._in_progress
        self._backend.interrupt()
        if is_idle:
            self._pool.close()

    @contextmanager
    def _request(self) -> Iterator[None]:
        """The last request in progress closes the pool of a closed client: a connection must not be closed by another
        thread than the one that uses it."""
        with self._lock:
            if self._is_closed:
                raise TransientError("the client is closed")
            self._in_progress += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_progress -= 1
                is_last = self._is_closed and not self._in_progress
            if is_last:
                self._pool.close()

    def _get(self, url: str, headers: list[tuple[bytes, bytes]], bounds: ExchangeBounds) -> SourceResponse:
        parsed = httpx2.URL(url)
        address = httpcore2.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
        )
        timeout = {
            "connect": self._limits.connect_timeout_s,
            "read": self._limits.read_timeout_s,
            "write": self._limits.read_timeout_s,
            "pool": bounds.left_s(),
        }
        bounds.expect_head()
        with self._pool.stream(
            "GET", address, headers=[(b"Host", parsed.netloc), *headers], extensions={"timeout": timeout}
        ) as answer:
            bounds.expect_body()
            response = SourceResponse(url, answer.status, tuple(decoded(answer.headers)))
            with _refusing(response, Refusal.HEADER):
                if problem := problem_of(response.headers):
                    raise InvalidDocument(problem)
            if response.status == OK:
                return self._with_document(response, answer, bounds)
            return self._with_beginning(response, answer, bounds)

    def _with_document(
        self, response: SourceResponse, answer: httpcore2.Response, bounds: ExchangeBounds
    ) -> SourceResponse:
        encoding = encoding_of(response.headers)
        if encoding is None:
            given = value_of(response.headers, "content-encoding")
            raise RefusedResponse(
                f"expected the content encoding gzip or none, got {given!r:.100}", Refusal.HEADER, response
            )
        collector = BodyCollector(encoding, self._limits.max_body_bytes)
        try:
            for data in _parts(answer, bounds):
                collector.add(data)
            body = collector.body()
        except InvalidDocument as error:
            raise RefusedResponse(str(error), Refusal.SIZE, replace(response, body=collector.beginning)) from error
        return replace(response, body=body)

    def _with_beginning(
        self, response: SourceResponse, answer: httpcore2.Response, bounds: ExchangeBounds
    ) -> SourceResponse:
        """The response with the beginning of its body, unpacked if possible. What goes wrong with the body is ignored:
        the status and the headers count, for example Retry-After."""
        collector = BodyCollector(encoding_of(response.headers) or PLAIN, ERROR_BODY_BYTES)
        with suppress(InvalidDocument, httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException):
            for data in _parts(answer, bounds):
                collector.add(data)
        return replace(response, body=collector.beginning[:ERROR_BODY_BYTES])

    @contextmanager
    def _translated(self, url: str, bounds: ExchangeBounds) -> Iterator[None]:
        """Errors of the exchange with the requested URL."""
        try:
            yield
        except RefusedResponse as error:
            raise RefusedResponse(f"GET {url}: {error}", error.reason, error.response) from error
        except (InvalidDocument, httpcore2.LocalProtocolError) as error:
            reason = Refusal.SIZE if isinstance(error, TooManyBytes) else Refusal.ADDRESS
            raise RefusedResponse(f"GET {url}: {error}", reason) from error
        except httpx2.InvalidURL as error:
            raise RefusedResponse(f"GET {url}: {error}", Refusal.REDIRECT) from error
        except TransientError as error:
            raise TransientError(f"GET {url}: {error}") from error
        except httpcore2.TimeoutException as error:
            self._raise_timeout(url, bounds, error)
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError) as error:
            raise TransientError(f"GET {url}: {type(error).__name__}: {error}") from error

    def _raise_timeout(self, url: str, bounds: ExchangeBounds, error: httpcore2.TimeoutException) -> NoReturn:
        """The time of the exchange may have ended inside an operation that was capped by it."""
        message = str(error) or type(error).__name__
        with suppress(httpcore2.TimeoutException):
            bounds.left_s()
            raise TransientError(f"GET {url}: {type(error).__name__}: {message}") from error
        total_s = self._limits.total_timeout_s
        raise TransientError(f"GET {url}: the document is not complete within {total_s:g} s") from error


def _parts(answer: httpcore2.Response, bounds: ExchangeBounds) -> Iterator[bytes]:
    """The body in parts. Checks the time for each of them, because thousands of chunks may arrive in one read."""
    for number, data in enumerate(answer.iter_stream()):
        if number >= MAX_PARTS:
            raise InvalidDocument(f"expected at most {MAX_PARTS:,} chunks, got more")
        bounds.left_s()
        yield data


@contextmanager
def _refusing(response: SourceResponse, reason: Refusal) -> Iterator[None]:
    """An InvalidDocument in the block is about this response."""
    try:
        yield
    except InvalidDocument as error:
        raise RefusedResponse(str(error), reason, response) from error


def _proxy_of(base_url: str, host: str, proxies: Mapping[str, str] | None) -> httpcore2.Proxy | None:
    """The HTTP proxy for the source. None for a private host: a proxy would not reach this machine or network.

    The proxy, not the fetcher, then decides which addresses are connected to.
    """
    scheme = httpx2.URL(base_url).scheme
    address = (getproxies() if proxies is None else proxies).get(scheme)
    if address is None or is_private_host(host) or (proxies is None and proxy_bypass(host)):
        return None
    url = httpx2.URL(address if "://" in address else f"http://{address}")
    auth = (url.username, url.password) if url.username or url.password else None
    return httpcore2.Proxy(
        httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"), auth=auth
    )
