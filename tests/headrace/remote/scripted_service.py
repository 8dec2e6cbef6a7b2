"""A real HTTP server that answers as a test says, in place of a service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.serving import serving


class SentRequest(NamedTuple):
    method: str
    path: str
    token: str | None
    key: str | None
    body: Any


class ScriptedService(ThreadingHTTPServer):
    """Sends its answers in order and repeats the last one; None closes the connection without an answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[SentRequest] = []
        self.answers: list[tuple[int, Any] | None] = [(200, {})]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: ScriptedService

    def reply(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        headers = self.headers
        self.server.requests.append(
            SentRequest(self.command, self.path, headers["Authorization"], headers["Idempotency-Key"], body)
        )
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            self.close_connection = True
            return
        content = json.dumps(answer[1]).encode()
        self.send_response(answer[0])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = reply  # noqa: N815  # the base class's names

    def log_message(self, *_: Any) -> None:
        """Nothing to stderr."""


@contextmanager
def scripted_service() -> Iterator[ScriptedService]:
    with serving(ScriptedService()) as server:
        yield server
