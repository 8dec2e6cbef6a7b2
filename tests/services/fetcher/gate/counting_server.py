"""An HTTP server that notes when requests come and how many are under way, and throttles as a test sets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.serving import serving

Decision = tuple[int, dict[str, str]]
"""A status and header fields."""


class CountingServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *, answer_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.answer_s = answer_s
        self.arrivals: list[float] = []
        """In seconds of the monotonic clock."""
        self.paths: list[str] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.decide: Callable[[int], Decision] = lambda _: (404, {})
        """Called with the number of the request, from 0, under the lock."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores errors, because tests kill clients."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server = cast("CountingServer", self.server)
        with server.lock:
            status, headers = server.decide(len(server.arrivals))
            server.arrivals.append(time.monotonic())
            server.paths.append(self.path)
            server.in_flight += 1
            server.max_in_flight = max(server.max_in_flight, server.in_flight)
        time.sleep(server.answer_s)
        with server.lock:  # before the answer, because the client may start the next request at once
            server.in_flight -= 1
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def counting_server(*, answer_s: float = 0.0) -> Iterator[CountingServer]:
    with serving(CountingServer(answer_s=answer_s)) as server:
        yield server


def most_over_budget(arrivals: list[float], rate: float, burst: int) -> float:
    """By how many requests the worst span of time exceeds `burst + rate * T`; negative if none does."""
    excess, lowest = float("-inf"), float("inf")
    for number, at in enumerate(sorted(arrivals)):
        # The requests i to j exceed by (j + 1 - rate * t_j) - (i - rate * t_i) - burst.
        lowest = min(lowest, number - rate * at)
        excess = max(excess, number + 1 - rate * at - lowest - burst)
    return excess
