"""A TCP proxy in front of Kafka that parses enough of the protocol to break a connection at a commit.

A request consists of its length (4 bytes), API key (2 bytes), version (2 bytes), correlation id (4 bytes) and content;
a reply of its length, the correlation id and content. EndTxn is the request that ends a transaction.

To break one connection is not enough: the client connects and sends the request again, and the broker gives the same
reply. Therefore the proxy withholds every EndTxn until the client gives up, as the InitProducerId of its next producer
shows. All other requests pass on new connections.
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
    """Forwards everything until `cut_at_commit` is called."""

    def __init__(self, listen: int, server: int) -> None:
        """Listens on port `listen` for the broker on port `server`."""
        self._deliver: bool | None = None
        self._withholding = False
        super().__init__(socket.create_server((_HOST, listen)), partial(socket.create_connection, (_HOST, server), 5))

    def cut_at_commit(self, *, delivered: bool) -> None:
        """Break the next connection that commits: after the broker has committed, or before it gets the request."""
        self._deliver = delivered

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
        """False if the connection must end now. A commit that is to be delivered has then been delivered."""
        (kind,) = struct.unpack_from(">h", request, 4)
        if kind == _INIT_PRODUCER_ID:
            self._withholding = False
        if kind != _END_TXN or (self._deliver is None and not self._withholding):
            return True
        delivered, self._deliver = self._deliver, None
        self._withholding = True
        if delivered:
            server.sendall(request)
            _await_reply(server, request[8:12])
        return False


def _frames(buffer: bytearray) -> Iterator[bytes]:
    """Complete messages with their lengths; an incomplete one stays in the buffer."""
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
