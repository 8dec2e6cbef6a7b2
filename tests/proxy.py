"""A proxy of a server: accepts connections and passes data on, in one thread for each connection.

Subclasses define in `pass_on` what happens to the data.
"""

from __future__ import annotations

import os
import pwd
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from psycopg.conninfo import make_conninfo

CHUNK_BYTES = 65536
POSTGRES_SOCKET = ".s.PGSQL.5432"

Pair = tuple[socket.socket, socket.socket]
"""A client, and the connection to the server that serves it."""


class Proxy:
    """Leaving the block breaks every connection and ends all threads."""

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        """`connect` raises OSError if the server is unavailable; the client is then disconnected."""
        self._listener = listener
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
        """Pass data on until the connection is to be closed. May raise OSError."""
        raise NotImplementedError

    def cut(self) -> int:
        """Break every connection. Returns their number."""
        with self._lock:
            broken, self._open = self._open, []
        for pair in broken:
            _shut(pair)
        return len(broken)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
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
    """Each piece of data with the socket that it came from, until one side closes."""
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
    """A listening socket in `directory`, with the name that PostgreSQL's clients expect."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / POSTGRES_SOCKET))
    listener.listen()
    return listener


def proxied_conninfo(conninfo: str, directory: Path) -> str:
    """For clients of a proxy that listens in `directory`. The server's user is that of the proxy: this process."""
    return make_conninfo(conninfo, host=str(directory), requirepeer=pwd.getpwuid(os.getuid()).pw_name)


def connect_postgres(directory: Path) -> socket.socket:
    """A connection to the server whose socket is in `directory`."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(str(directory / POSTGRES_SOCKET))
    return server


def _shut(pair: Pair) -> None:
    for each in pair:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
