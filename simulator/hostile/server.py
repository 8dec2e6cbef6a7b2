"""Runs attacks on a connection, and a server whose every response is an attack."""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator

from simulator.hostile.script import Action, Attack, HostileRequest, Pause, Reset

# Close with RST: linger for 0 seconds.
LINGER_0 = struct.pack("ii", 1, 0)
MAX_REQUEST_BYTES = 65536
MAX_WAIT_S = 0.1

AttackOf = Callable[[HostileRequest], Attack]
"""Selects the attack on a request; its path is empty while the connection has no request."""


def perform(actions: Iterator[Action], connection: socket.socket, stop: threading.Event) -> None:
    """Carry out the actions until they end, the client disconnects or `stop` is set. Does not close the connection,
    except for a reset."""
    with contextlib.suppress(OSError):
        for action in actions:
            if stop.is_set():
                return
            match action:
                case Pause(seconds):
                    if _disconnects(connection, seconds, stop):
                        return
                case Reset():
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
                    connection.close()
                    return
                case bytes():
                    connection.sendall(action)


def _disconnects(connection: socket.socket, seconds: float, stop: threading.Event) -> bool:
    """Wait `seconds`; True as soon as the client has closed the connection or `stop` is set.

    Bytes that arrive meanwhile are dropped.
    """
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if stop.is_set():
            return True
        if select.select([connection], [], [], min(left_s, MAX_WAIT_S))[0] and not connection.recv(65536):
            return True
    return False


class HostileServer(socketserver.ThreadingTCPServer):
    """Answers each request with the attack that `attack_of` selects, and then closes the connection.

    `page_of` gives the honest body of a path. Listens as soon as it is constructed. With `tls`, attacks begin after the
    TLS handshake, except those that run before the request.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        attack_of: AttackOf,
        page_of: Callable[[str], bytes],
        tls: ssl.SSLContext | None = None,
        interval_s: float = 0.2,
    ) -> None:
        super().__init__(address, _Connection)
        self.attack_of = attack_of
        self.page_of = page_of
        self.tls = tls
        self.interval_s = interval_s
        self.draw = 0.5
        self.requests = 0
        self.stop = threading.Event()

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"{'https' if self.tls else 'http'}://{host!s}:{port}"

    def hostile_request(self, path: str, body: bytes) -> HostileRequest:
        return HostileRequest(self.url, path, body, self.draw, self.interval_s)

    def server_close(self) -> None:
        self.stop.set()
        super().server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores errors of connections, which attacks cause."""


class _Connection(socketserver.BaseRequestHandler):
    server: HostileServer
    request: socket.socket

    def handle(self) -> None:
        server = self.server
        request = server.hostile_request("", b"")
        attack = server.attack_of(request)
        if attack.before_request:
            perform(attack.script(request), self.request, server.stop)
            return
        connection = self.request if server.tls is None else server.tls.wrap_socket(self.request, server_side=True)
        with connection:
            path = _read_path(connection)
            if path is None:
                return
            server.requests += 1
            request = server.hostile_request(path, server.page_of(path.partition("?")[0]))
            perform(server.attack_of(request).script(request), connection, server.stop)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)


def _read_path(connection: socket.socket) -> str | None:
    """The path of the request; None if the client disconnects before its end."""
    request = b""
    while b"\r\n\r\n" not in request and len(request) < MAX_REQUEST_BYTES:
        data = connection.recv(4096)
        if not data:
            return None
        request += data
    parts = request.split(b" ", 2)
    return parts[1].decode("latin-1") if len(parts) == 3 else None
