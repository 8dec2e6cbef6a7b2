"""A real HTTP server on a free port. A test sets its pages, and may replace single responses."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.serving import serving
from tests.waiting import DEADLINE_S

Answer = Callable[["Handler"], None]


class Site(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, bytes] = {}
        self.answers: dict[str, deque[Answer]] = defaultdict(deque)
        """For each path, the responses to the next requests instead of the page."""
        self.requests: list[str] = []
        self.max_concurrent_requests = 0
        self.concurrent_requests = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores errors, because some tests close connections."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        site = cast("Site", self.server)
        with site.lock:
            site.requests.append(self.path)
            site.concurrent_requests += 1
            site.max_concurrent_requests = max(site.max_concurrent_requests, site.concurrent_requests)
            answer = site.answers[self.path].popleft() if site.answers[self.path] else page
        try:
            answer(self)
        finally:
            with site.lock:
                site.concurrent_requests -= 1

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


@contextmanager
def serving_site() -> Iterator[Site]:
    """A web server that runs until the block ends."""
    with serving(Site()) as server:
        yield server


def page(handler: Handler) -> None:
    """Responds with the page and its ETag, with 304 or with 404."""
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


def truncated(body: bytes) -> Answer:
    """Announces the whole body, sends half of it and closes the connection."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        handler.close_connection = True

    return answer


def delayed(until: threading.Event) -> Answer:
    """Responds with the page once the event is set."""

    def answer(handler: Handler) -> None:
        assert until.wait(DEADLINE_S)
        page(handler)

    return answer
