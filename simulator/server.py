"""Serves pages over HTTP like the real source: dated files, `today.json`, conditional requests, occasional 503s, and
attacks if it is hostile."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from shared.clock import Clock
from simulator.draws import Draw, stream
from simulator.hostile.mix import AttackMix, SelectedAttack
from simulator.hostile.script import HostileRequest
from simulator.hostile.server import perform
from simulator.load import Load, LoadReading
from simulator.publisher import PublishedPage, dated_document

HEALTH_PATH = "/healthz"
TRUTH_PREFIX = "/truth/"
IDLE_TIMEOUT_S = 30
# The longest time that a request waits for a document of a load. Below the read timeout of the declared source, 5 s.
HOLD_S = 4.0


@dataclass(frozen=True)
class FailureInjection:
    """Selects a share of the requests to answer with 503, by the seed and the number of the request."""

    rate: float
    seed: int

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate < 1.0:
            raise ValueError(f"expected a share of failing requests from 0 to below 1, got {self.rate:g}")

    def fails(self, count: int) -> bool:
        return self.rate > 0 and bool(stream(self.seed, Draw.FAILURES, count).random() < self.rate)


class Pages(Protocol):
    """What is served: a simulated season or a recorded day."""

    def page(self, path: str, now: datetime) -> PublishedPage | None:
        """The public document under this path; None if it does not exist (yet)."""
        ...


class SimulatorServer(ThreadingHTTPServer):
    """Listens as soon as it is constructed. Port 0 picks a free port, which is in `url`.

    With `attacks`, some requests get a hostile response.

    With a load, a request for a document that is not public yet waits for it up to `hold_s`, then gets a 503.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        pages: Pages,
        clock: Clock,
        failing: FailureInjection,
        load: Load | None = None,
        hold_s: float = HOLD_S,
        attacks: AttackMix | None = None,
    ) -> None:
        self.stopping = threading.Event()  # first, because a failed bind calls `server_close`
        super().__init__(address, SimulatorHandler)
        self._attacks = attacks
        self._load = load
        self._hold_s = hold_s
        self._pages = pages
        self._clock = clock
        self._failure_injection = failing
        self._requests = 0
        self._lock = threading.Lock()
        self._load_lock = threading.Lock()  # another one, because rendering a page takes up to half a second

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that disconnect; they are not errors of the server."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def page(self, path: str) -> PublishedPage | None:
        with self._lock:
            return self._pages.page(path, self._clock.now())

    def attack_on_connection(self) -> SelectedAttack | None:
        with self._lock:
            return self._attacks.attack_on_connection() if self._attacks else None

    def attack_on_request(self, path: str) -> SelectedAttack | None:
        with self._lock:
            return self._attacks.attack_on_request(path) if self._attacks else None

    def server_close(self) -> None:
        self.stopping.set()
        super().server_close()

    def load_number(self, path: str) -> int | None:
        """The number of the document in the load; None for any other path, and without a load."""
        dated = dated_document(path)
        return self._load.plan.number_of(*dated) if self._load and dated else None

    def wait_until_public(self, number: int) -> bool:
        """Wait for a document of the load. Returns whether it is public."""
        if self._load is None:
            return True
        with self._load_lock:
            wait_s = self._load.wait_s(number)
        time.sleep(min(wait_s, self._hold_s))
        return wait_s <= self._hold_s

    def record_fetch(self, number: int) -> None:
        if self._load is not None:
            with self._load_lock:
                self._load.record_fetch(number)

    def load_reading(self) -> LoadReading:
        """The state of the load; all zero without one."""
        if self._load is None:
            return LoadReading(0.0, 0, 0, 0)
        with self._load_lock:
            return self._load.reading()

    def next_request_fails(self) -> bool:
        """Counts a request and returns whether to answer it with 503."""
        with self._lock:
            self._requests += 1
            return self._failure_injection.fails(self._requests)


class SimulatorHandler(BaseHTTPRequestHandler):
    """One connection, kept open between requests."""

    protocol_version = "HTTP/1.1"
    server_version = "simulator"
    sys_version = ""
    timeout = IDLE_TIMEOUT_S
    wbufsize = -1
    disable_nagle_algorithm = True  # otherwise the end of a body waits for an acknowledgement of its beginning
    server: SimulatorServer

    def handle(self) -> None:
        selected = self.server.attack_on_connection()
        if selected is None:
            super().handle()
        else:
            self._perform(selected, "", b"")

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == HEALTH_PATH:
            self._answer(HTTPStatus.OK, b"ok", {"Content-Type": "text/plain"})
        elif not path.startswith(TRUTH_PREFIX) and (selected := self.server.attack_on_request(path)):
            page = self.server.page(path)
            self._perform(selected, self.path, page.body if page else b"")
        elif not path.startswith(TRUTH_PREFIX) and self.server.next_request_fails():
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"unavailable", {"Content-Type": "text/plain"})
        elif (number := self.server.load_number(path)) is not None:
            self._answer_load(number, path)
        else:
            self._answer_page(self.server.page(path))

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer_load(self, number: int, path: str) -> None:
        if not self.server.wait_until_public(number):
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"not public yet", {"Content-Type": "text/plain"})
            return
        self._answer_page(self.server.page(path))
        if self.command == "GET":
            self.server.record_fetch(number)

    def _answer_page(self, page: PublishedPage | None) -> None:
        if page is None:
            self._answer(HTTPStatus.NOT_FOUND, b"not found", {"Content-Type": "text/plain"})
            return
        headers = {"ETag": page.tag, "Last-Modified": format_datetime(page.published_at, usegmt=True)}
        if self._is_current(page):
            self._answer(HTTPStatus.NOT_MODIFIED, b"", headers)
        else:
            self._answer(HTTPStatus.OK, page.body, headers | {"Content-Type": "application/json; charset=utf-8"})

    def _is_current(self, page: PublishedPage) -> bool:
        """Whether the client has this version. An entity tag takes precedence over a time."""
        tags, since = self.headers.get("If-None-Match"), self.headers.get("If-Modified-Since")
        if tags is not None or since is None:
            return page.tag in (tags or "").replace("W/", "").split(", ")
        try:
            instant = parsedate_to_datetime(since)
        except ValueError:
            return False
        return instant.tzinfo is not None and page.published_at.replace(microsecond=0) <= instant

    def _perform(self, selected: SelectedAttack, path: str, body: bytes) -> None:
        """Answer by the attack, and close the connection."""
        self.close_connection = True
        request = HostileRequest(self.server.url, path, body, selected.draw)
        perform(selected.attack.script(request), self.connection, self.server.stopping)

    def _answer(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Requests are not logged, because a live day has thousands."""
