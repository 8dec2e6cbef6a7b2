"""A Unix socket in front of PostgreSQL's whose lines stay open and pass nothing once it is told so."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.proxy import Proxy, connect_postgres, postgres_listener, received


class BlackHole(Proxy):
    """Passes everything on until it swallows; what is connected then, and later, is accepted and never answered."""

    def __init__(self, server: Path, directory: Path) -> None:
        self.directory = directory
        self.swallowed = 0
        self._swallowing = threading.Event()
        super().__init__(postgres_listener(directory), partial(connect_postgres, server))

    def swallow(self) -> None:
        self._swallowing.set()

    def stop_swallowing(self) -> None:
        """Only for lines that are made from now on: what was swallowed is gone."""
        self._swallowing.clear()

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        swallowed = False
        for source, data in received(client, server):
            swallowed = swallowed or self._swallowing.is_set()
            if swallowed:
                self.swallowed += len(data)
            else:
                other[source].sendall(data)


@contextmanager
def black_hole(server: Path) -> Iterator[BlackHole]:
    """One before the server whose socket lies in `server`; its own lies in a short path of its own."""
    with tempfile.TemporaryDirectory(prefix="hr-") as short, BlackHole(server, Path(short)) as hole:
        yield hole
