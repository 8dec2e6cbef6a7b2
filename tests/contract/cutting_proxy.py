"""A Unix socket in front of PostgreSQL's that breaks a connection at its COMMIT, before or after the server got it."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.proxy import CHUNK_BYTES, Proxy, connect_postgres, postgres_listener, received


class CuttingProxy(Proxy):
    """Passes everything on until it is told to cut."""

    def __init__(self, server: Path, directory: Path) -> None:
        self.directory = directory
        self.cuts = 0
        self._arrived: bool | None = None
        super().__init__(postgres_listener(directory), partial(connect_postgres, server))

    def cut_at_commit(self, *, arrived: bool) -> None:
        """Break the next connection that commits: once the server has done it, or before it hears of it."""
        self._arrived = arrived

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        for source, data in received(client, server):
            if source is client and b"COMMIT" in data and self._arrived is not None:
                self._cut_commit(server, data)
                return
            other[source].sendall(data)

    def _cut_commit(self, server: socket.socket, data: bytes) -> None:
        if self._arrived:
            server.sendall(data)
            server.recv(CHUNK_BYTES)  # done, and the reply is lost
        self._arrived = None
        self.cuts += 1


@contextmanager
def cutting_proxy(server: Path) -> Iterator[CuttingProxy]:
    """A proxy before the server whose socket lies in `server`; its own lies in a short path of its own."""
    with tempfile.TemporaryDirectory(prefix="hr-") as short, CuttingProxy(server, Path(short)) as proxy:
        yield proxy
