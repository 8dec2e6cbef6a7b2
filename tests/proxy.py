"""A proxy in front of a server: accepts connections and passes data on, in one thread per connection.

Subclasses decide what happens to the data, in `pass_on`.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

CHUNK_BYTES = 65536
POSTGRES_SOCKET = ".s.PGSQL.5432"

Pair = tuple[socket.socket, socket.socket]
"""A client, and the connection to the server that serves it."""


class Proxy:
    """Leaving its block breaks every connection and ends its threads."""

    def __init__(self, listening: socket.socket, connect: Callable[[], socket.socket]) -> None:
        """`connect` raises OSError where the server is away: the client is then disconnected."""
        self._listening = listening
        self._connect = connect
        self._lock = threading.Lock()
        self._open: list[Pair] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Returns where the connection is to end. May raise OSError."""
        raise NotImplementedError

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
                pair = (client, self._connect())
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open.append(pair)
            self._threads.append(threading.Thread(target=self._serve, args=(pair,)))
            self._threads[-1].start()

    def _serve(self, pair: Pair) -> None:
        try:
            with suppress(OSError):
                self.pass_on(*pair)
        finally:
            with self._lock:
                self._open = [each for each in self._open if each is not pair]
            _shut(pair)
            for each in pair:
                each.close()


def received(client: socket.socket, server: socket.socket) -> Iterator[tuple[socket.socket, bytes]]:
    """Each piece of data with the side that it came from, until one side ends."""
    with selectors.DefaultSelector() as selector:
        for each in (client, server):
            selector.register(each, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                if not (data := key.fileobj.recv(CHUNK_BYTES)):
                    return
                yield key.fileobj, data


def postgres_listener(directory: Path) -> socket.socket:
    """A socket in `directory` where PostgreSQL's clients look for the server's."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(directory / POSTGRES_SOCKET))
    listening.listen()
    return listening


def connect_postgres(directory: Path) -> socket.socket:
    """A connection to the server whose socket lies in `directory`."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(str(directory / POSTGRES_SOCKET))
    return server


def _shut(pair: Pair) -> None:
    for each in pair:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
