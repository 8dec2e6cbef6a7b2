"""A Unix socket in front of PostgreSQL's that breaks a connection at its COMMIT, before or after the server got it."""

from __future__ import annotations

import selectors
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = ".s.PGSQL.5432"


class CuttingProxy:
    """Passes everything on until it is told to cut."""

    def __init__(self, server: Path, directory: Path) -> None:
        self.directory = directory
        self.cuts = 0
        self._server = str(server / _NAME)
        self._arrived: bool | None = None
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(directory / _NAME))
        self._listening.listen()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut_at_commit(self, *, arrived: bool) -> None:
        """Break the next connection that commits: once the server has done it, or before it hears of it."""
        self._arrived = arrived

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            self._open += [client, server]
            thread = threading.Thread(target=self._pass, args=(client, server))
            self._threads.append(thread)
            thread.start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, selectors.DefaultSelector() as selector, suppress(OSError):
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and b"COMMIT" in data and self._arrived is not None:
                        self._cut(server, data)
                        return
                    target.sendall(data)

    def _cut(self, server: socket.socket, data: bytes) -> None:
        if self._arrived:
            server.sendall(data)
            server.recv(65536)  # done, and the reply is lost
        self._arrived = None
        self.cuts += 1


@contextmanager
def cutting_proxy(server: Path) -> Iterator[CuttingProxy]:
    """A proxy before the server whose socket lies in `server`; its own lies in a short path of its own."""
    with tempfile.TemporaryDirectory(prefix="hr-") as short:
        proxy = CuttingProxy(server, Path(short))
        try:
            yield proxy
        finally:
            proxy.close()
