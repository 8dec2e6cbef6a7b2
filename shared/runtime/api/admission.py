"""Refuses requests before any work on them: a foreign Host, a head that is too large, too many requests at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.loopback import is_loopback
from shared.runtime.api.connection_table import ConnectionLimits
from shared.runtime.api.problems import problem_of

MAX_TARGET_BYTES = 8 * 1024
MISDIRECTED, URI_TOO_LONG, HEADERS_TOO_LARGE = 421, 414, 431
# Never refused for load: busy requests are no reason to restart the service.
LIVENESS = "/livez"
_SHOWN_HOST_CHARS = 100


class AdmissionMiddleware:
    """Admits requests to the service's own hosts, within the limits. The eighth part of the connections is left to
    probes, so at most seven eighths of `max_connections` requests are in work."""

    def __init__(self, app: ASGIApp, limits: ConnectionLimits, hosts: Collection[str]) -> None:
        self._app = app
        self._limits = limits
        self._max_requests = limits.max_connections * 7 // 8
        self._is_known = host_check(hosts)
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (refusal := self._refusal(scope)) is not None:
            await problem_of(HTTPConnection(scope), refusal)(scope, receive, send)
            return
        self._in_work += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_work -= 1

    def _refusal(self, scope: Scope) -> HTTPException | None:
        target_bytes = len(scope["raw_path"]) + len(scope["query_string"])
        head_bytes = target_bytes + sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if target_bytes > MAX_TARGET_BYTES:
            return _closing(URI_TOO_LONG, f"the URL is longer than {MAX_TARGET_BYTES} bytes; shorten it")
        if head_bytes > self._limits.max_head_bytes:
            return _closing(
                HEADERS_TOO_LARGE,
                f"the head of the request is larger than {self._limits.max_head_bytes} bytes; shorten it",
            )
        host = Headers(scope=scope).get("host", "")
        if not self._is_known(host, scope["server"]):
            return _closing(
                MISDIRECTED,
                f"this service does not serve the host {host[:_SHOWN_HOST_CHARS]!r}; add the name to"
                " admin.allowed_hosts if it is the service's",
            )
        if self._in_work >= self._max_requests and scope["path"] != LIVENESS:
            return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests are in work; try again")
        return None


def host_check(hosts: Collection[str]) -> Callable[[str, tuple[str, int] | None], bool]:
    """A function that tells whether a Host header names this server: one of `hosts`, loopback, or the address to which
    the client connected. A web page that resolves its own name to this address (DNS rebinding) has another Host."""
    names = frozenset(each.lower() for each in hosts)

    def is_known(header: str, server: tuple[str, int] | None) -> bool:
        host = host_of(header).lower()
        return is_loopback(host) or host in names or (server is not None and host == server[0])

    return is_known


def host_of(header: str) -> str:
    """The host of a Host header, without the port and the brackets of an IPv6 address."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() and ":" in header else header


def _closing(status: int, detail: str) -> HTTPException:
    return HTTPException(status, detail, headers={"Connection": "close"})
