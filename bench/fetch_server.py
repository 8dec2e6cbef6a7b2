"""Serves recorded documents over HTTP from memory, as the packed bytes of their files."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from services.fetcher.sources.archive_files import recorded_files
from services.fetcher.sources.yaml_file import load_source

SOURCE = "boatrace"


class RecordedServer(ThreadingHTTPServer):
    """`documents`: gzip bytes by path. `first_request_s`: by the monotonic clock, None before it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents = documents
        self.lock = threading.Lock()
        self.restart()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def restart(self) -> None:
        """Count from 0, before another client."""
        self.requests = 0
        self.first_request_s: float | None = None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: RecordedServer

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.requests += 1
            server.first_request_s = server.first_request_s or time.monotonic()
        body = server.documents.get(self.path)
        self.send_response(404 if body is None else 200)
        if body is not None:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Requests are not logged."""


@contextmanager
def serving_recorded(archive: Path) -> Iterator[RecordedServer]:
    """A server of all days of a recorded archive."""
    server = RecordedServer(recorded_documents(archive))
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def recorded_documents(archive: Path) -> dict[str, bytes]:
    """The files of all feeds by the path of their document."""
    source = load_source(SOURCE)
    documents = {}
    for feed in source.feeds:
        for day, path in recorded_files(archive, source.archive or "", feed.name, datetime.now(UTC).year).items():
            documents[feed.dated.format(feed=feed.name, date=day)] = (archive / path).read_bytes()
    return documents
