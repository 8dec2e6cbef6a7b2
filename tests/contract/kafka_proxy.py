"""A TCP proxy in front of Kafka that knows enough of its protocol to break a connection at a commit.

Every request is a 4-byte length, then its key (2 bytes), version (2 bytes) and correlation id (4 bytes); a reply is a
length and the correlation id. EndTxn is the request that ends a transaction.

One break is not enough to leave a commit without a word: the client connects again and asks again, and the broker
gives the same answer twice. So no EndTxn passes any more until the client gives up, which is seen by the InitProducerId
of the producer that it makes next. All other requests pass, on new connections.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_INIT_PRODUCER_ID, _END_TXN = 22, 26
_HOST = "127.0.0.1"


class KafkaProxy:
    """Passes everything on until it is told to cut."""

    def __init__(self, listen: int, server: int) -> None:
        """Listens at port `listen`, for the broker at port `server`."""
        self._server = server
        self._arrived: bool | None = None
        self._withholding = False
        self._listening = socket.create_server((_HOST, listen))
        self._lock = threading.Lock()
        self._open: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut_at_commit(self, *, arrived: bool) -> None:
        """Break the next connection that commits: once the broker has done it, or before it hears of it."""
        self._arrived = arrived

    def cut(self) -> int:
        """Break every connection; returns how many."""
        with self._lock:
            broken, self._open = self._open, []
        for pair in broken:
            _shut(pair)
        return len(broken)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                pair = (client, socket.create_connection((_HOST, self._server), 5))
            except OSError:  # the broker is away: the client is told as it would be without us
                client.close()
                continue
            for each in pair:
                each.settimeout(None)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.append(pair)
            thread = threading.Thread(target=self._pass, args=pair)
            self._threads.append(thread)
            thread.start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        try:
            with selectors.DefaultSelector() as selector, suppress(OSError):
                selector.register(client, selectors.EVENT_READ)
                selector.register(server, selectors.EVENT_READ)
                self._pass_all(selector, client, server)
        finally:
            with self._lock:
                self._open = [pair for pair in self._open if pair[0] is not client]
            _shut((client, server))
            client.close()
            server.close()

    def _pass_all(self, selector: selectors.BaseSelector, client: socket.socket, server: socket.socket) -> None:
        asked = bytearray()
        while True:
            for key, _ in selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                data = source.recv(65536)
                if not data:
                    return
                if source is server:
                    client.sendall(data)
                    continue
                asked += data
                for request in _frames(asked):
                    if not self._may_pass(request, server):
                        return
                    server.sendall(request)

    def _may_pass(self, request: bytes, server: socket.socket) -> bool:
        """Whether it goes on as ever. If not, the connection ends; a commit that shall arrive has arrived by then."""
        (kind,) = struct.unpack_from(">h", request, 4)
        if kind == _INIT_PRODUCER_ID:
            self._withholding = False
        if kind != _END_TXN or (self._arrived is None and not self._withholding):
            return True
        arrived, self._arrived = self._arrived, None
        self._withholding = True
        if arrived:
            server.sendall(request)
            _await_reply(server, request[8:12])
        return False


def _frames(buffer: bytearray) -> Iterator[bytes]:
    """Whole requests, lengths included; what is not whole yet stays in the buffer."""
    while len(buffer) >= 4:
        end = 4 + int.from_bytes(buffer[:4], "big")
        if len(buffer) < end:
            return
        frame = bytes(buffer[:end])
        del buffer[:end]
        yield frame


def _await_reply(server: socket.socket, correlation_id: bytes) -> None:
    replies = bytearray()
    while data := server.recv(65536):
        replies += data
        if any(reply[4:8] == correlation_id for reply in _frames(replies)):
            return


def _shut(pair: tuple[socket.socket, socket.socket]) -> None:
    for each in pair:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def kafka_proxy(listen: int, server: int) -> Iterator[KafkaProxy]:
    proxy = KafkaProxy(listen, server)
    try:
        yield proxy
    finally:
        proxy.close()
