"""A TCP proxy in front of Kafka that knows enough of its protocol to break a connection at a commit.

Every request is a 4-byte length, then its key (2 bytes), version (2 bytes) and correlation id (4 bytes); a reply is a
length and the correlation id. EndTxn is the request that ends a transaction.

One break is not enough to leave a commit without a word: the client connects again and asks again, and the broker
gives the same answer twice. So no EndTxn passes any more until the client gives up, which is seen by the InitProducerId
of the producer that it makes next. All other requests pass, on new connections.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from functools import partial

from tests.proxy import CHUNK_BYTES, Proxy, received

_INIT_PRODUCER_ID, _END_TXN = 22, 26
_HOST = "127.0.0.1"


class KafkaProxy(Proxy):
    """Passes everything on until it is told to cut."""

    def __init__(self, listen: int, server: int) -> None:
        """Listens at port `listen`, for the broker at port `server`."""
        self._arrived: bool | None = None
        self._withholding = False
        super().__init__(socket.create_server((_HOST, listen)), partial(socket.create_connection, (_HOST, server), 5))

    def cut_at_commit(self, *, arrived: bool) -> None:
        """Break the next connection that commits: once the broker has done it, or before it hears of it."""
        self._arrived = arrived

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        for each in (client, server):
            each.settimeout(None)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        requests = bytearray()
        for source, data in received(client, server):
            if source is server:
                client.sendall(data)
                continue
            requests += data
            for request in _frames(requests):
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
    while data := server.recv(CHUNK_BYTES):
        replies += data
        if any(reply[4:8] == correlation_id for reply in _frames(replies)):
            return
