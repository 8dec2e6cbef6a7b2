"""A Unix socket in front of PostgreSQL's whose lines stay open and pass nothing once it is told so."""

from __future__ import annotations

import selectors
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = ".s.PGSQL.5432"


class BlackHole:
    """Passes everything on until it swallows; what is connected then, and later, is accepted and never answered."""

    def __init__(self, server: Path, directory: Path) -> None:
        self.directory = directory
        self.swallowed = 0
        self._server = str(server / _NAME)
        self._swallowing = threading.Event()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(directory / _NAME))
        self._listening.listen()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def swallow(self) -> None:
        self._swallowing.set()

    def pass_on(self) -> None:
        """Only for lines that are made from now on: what was swallowed is gone."""
        self._swallowing.clear()

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
            self._threads.append(threading.Thread(target=self._pass, args=(client, server)))
            self._threads[-1].start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        swallowed = False
        with client, server, selectors.DefaultSelector() as selector, suppress(OSError):
            for each in other:
                selector.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    assert isinstance(key.fileobj, socket.socket)
                    if not (data := key.fileobj.recv(65536)):
                        return
                    swallowed = swallowed or self._swallowing.is_set()
                    if swallowed:
                        self.swallowed += len(data)
                    else:
                        other[key.fileobj].sendall(data)


@contextmanager
def black_hole(server: Path) -> Iterator[BlackHole]:
    """One before the server whose socket lies in `server`; its own lies in a short path of its own."""
    with tempfile.TemporaryDirectory(prefix="hr-") as short:
        hole = BlackHole(server, Path(short))
        try:
            yield hole
        finally:
            hole.close()
