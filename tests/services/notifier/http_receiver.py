"""A real HTTP server on a free port. It gives the responses that a test sets and records the requests."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.serving import serving
from tests.waiting import DEADLINE_S


class Answer(NamedTuple):
    """`body` is sent as JSON, bytes as they are. Status 0 closes the connection without an answer."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


class ReceivedRequest(NamedTuple):
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class Receiver:
    """Responds with `answers` in order, then with `usual`. While `open` is not set, responses wait."""

    usual: Answer = field(default_factory=lambda: Answer(204))
    answers: deque[Answer] = field(default_factory=deque)
    seen: list[ReceivedRequest] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def take(self, request: ReceivedRequest) -> Answer:
        self.seen.append(request)
        self.open.wait(DEADLINE_S)
        return self.answers.popleft() if self.answers else self.usual


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.open.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = receiver.take(ReceivedRequest(self.path, dict(self.headers), body))
            if answer.status == 0:
                self.close_connection = True
                return
            content = (
                answer.body
                if isinstance(answer.body, bytes)
                else b""
                if answer.body is None
                else json.dumps(answer.body).encode()
            )
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Logs nothing, to keep the test's output readable."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    with serving(server):
        try:
            yield receiver
        finally:
            receiver.open.set()
