"""A proxy in front of the Unix socket of PostgreSQL whose connections can stay open without passing any data."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.proxy import Proxy, connect_postgres, postgres_listener, received


class SilentProxy(Proxy):
    """Forwards everything until `start_dropping`. From then on, open and new connections get no answer."""

    def __init__(self, server: Path, directory: Path) -> None:
        self.directory = directory
        self.dropped_bytes = 0
        self._dropping = threading.Event()
        super().__init__(postgres_listener(directory), partial(connect_postgres, server))

    def start_dropping(self) -> None:
        self._dropping.set()

    def stop_dropping(self) -> None:
        """For new connections only: what was dropped is lost."""
        self._dropping.clear()

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        dropping = False
        for source, data in received(client, server):
            dropping = dropping or self._dropping.is_set()
            if dropping:
                self.dropped_bytes += len(data)
            else:
                other[source].sendall(data)


@contextmanager
def silent_proxy(server: Path) -> Iterator[SilentProxy]:
    """A proxy for the server with its socket in directory `server`; its own socket needs a short path."""
    with tempfile.TemporaryDirectory(prefix="hr-") as directory, SilentProxy(server, Path(directory)) as proxy:
        yield proxy
