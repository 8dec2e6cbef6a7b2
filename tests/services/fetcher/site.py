"""A real HTTP server on a free port whose pages are set by hand, and whose answers may fail on request."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.waiting import DEADLINE_S

Answer = Callable[["Handler"], None]


class Site(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, bytes] = {}
        self.answers: dict[str, deque[Answer]] = defaultdict(deque)
        """Per path what is answered instead of the page, one each request."""
        self.requests: list[str] = []
        self.most_at_once = 0
        self.at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        site = cast("Site", self.server)
        with site.lock:
            site.requests.append(self.path)
            site.at_once += 1
            site.most_at_once = max(site.most_at_once, site.at_once)
            answer = site.answers[self.path].popleft() if site.answers[self.path] else page
        try:
            answer(self)
        finally:
            with site.lock:
                site.at_once -= 1

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def page(handler: Handler) -> None:
    """The page with its tag, 304 or 404."""
    body = cast("Site", handler.server).pages.get(handler.path)
    if body is None:
        handler.answer(404, b"nothing here")
        return
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    if handler.headers.get("If-None-Match") == tag:
        handler.answer(304, ETag=tag)
    else:
        handler.answer(200, body, ETag=tag, Last_Modified="Sun, 04 May 2031 02:30:00 GMT")


def status(code: int) -> Answer:
    return lambda handler: handler.answer(code, b"no")


def cut(body: bytes) -> Answer:
    """Promises the whole body, sends half, hangs up."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        handler.close_connection = True

    return answer


def held(until: threading.Event) -> Answer:
    """The page, but not before somebody says so."""

    def answer(handler: Handler) -> None:
        assert until.wait(DEADLINE_S)
        page(handler)

    return answer
