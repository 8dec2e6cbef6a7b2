"""A proxy in front of the Unix socket of PostgreSQL. It breaks a connection at its COMMIT, before or after delivery."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.proxy import CHUNK_BYTES, Proxy, connect_postgres, postgres_listener, received


class CuttingProxy(Proxy):
    """Forwards everything until `cut_at_commit` is called."""

    def __init__(self, server: Path, directory: Path) -> None:
        self.directory = directory
        self.cuts = 0
        self._deliver: bool | None = None
        super().__init__(postgres_listener(directory), partial(connect_postgres, server))

    def cut_at_commit(self, *, delivered: bool) -> None:
        """Break the next connection that commits: after the server has committed, or before it gets the COMMIT."""
        self._deliver = delivered

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        for source, data in received(client, server):
            if source is client and b"COMMIT" in data and self._deliver is not None:
                self._cut_commit(server, data)
                return
            other[source].sendall(data)

    def _cut_commit(self, server: socket.socket, data: bytes) -> None:
        if self._deliver:
            server.sendall(data)
            server.recv(CHUNK_BYTES)  # committed, but the reply is lost
        self._deliver = None
        self.cuts += 1


@contextmanager
def cutting_proxy(server: Path) -> Iterator[CuttingProxy]:
    """A proxy for the server with its socket in directory `server`; its own socket needs a short path."""
    with tempfile.TemporaryDirectory(prefix="hr-") as directory, CuttingProxy(server, Path(directory)) as proxy:
        yield proxy
