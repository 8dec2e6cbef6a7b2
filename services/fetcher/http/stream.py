"""Connections below the HTTP client that bound the time and the bytes of an exchange.

An exchange is everything from the lookup of the name to the last byte. The client's own limits are for single reads, so
a server that sends one byte now and then could hold a thread for any time. Here each operation has at most the time
that is left of the whole exchange, and each received byte counts, be it of a header, of an informational response, of a
body or of a trailer.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import httpcore2

from services.fetcher.http.address_policy import is_public
from services.fetcher.http.addresses import Resolver
from shared.errors import InvalidDocument

# Before the body: the headers of the response and of all informational responses. A read has up to 64 KiB of a body.
MAX_HEAD_BYTES = 128 * 1024


class ExchangeBounds:
    """What is left of one exchange. `elapsed_s` is a monotonic clock."""

    def __init__(self, total_s: float, max_wire_bytes: int, elapsed_s: Callable[[], float] = time.monotonic) -> None:
        self._total_s = total_s
        self._max_wire_bytes = max_wire_bytes
        self._elapsed_s = elapsed_s
        self._deadline_s = elapsed_s() + total_s
        self._allowed_bytes = min(MAX_HEAD_BYTES, max_wire_bytes)
        self._received_bytes = 0

    def left_s(self) -> float:
        """Raises DeadlineReached if no time is left."""
        left_s = self._deadline_s - self._elapsed_s()
        if left_s <= 0:
            raise DeadlineReached(f"the document is not complete within {self._total_s:g} s")
        return left_s

    def count(self, received_bytes: int) -> None:
        """Raises TooManyBytes if the server has sent too much."""
        self._received_bytes += received_bytes
        if self._received_bytes > self._allowed_bytes:
            raise TooManyBytes(f"expected at most {self._allowed_bytes:,} bytes from the server, got more")

    def expect_head(self) -> None:
        """A request is sent: until its response, only headers may arrive."""
        self._allowed_bytes = min(self._received_bytes + MAX_HEAD_BYTES, self._max_wire_bytes)

    def expect_body(self) -> None:
        """The headers of a response have arrived."""
        self._allowed_bytes = self._max_wire_bytes


class TooManyBytes(InvalidDocument):
    """The server has sent more than the exchange may have."""


class DeadlineReached(httpcore2.TimeoutException):
    """The time of the whole exchange is over."""


class BoundedBackend(httpcore2.NetworkBackend):
    """Opens connections that obey the bounds of the exchange of the calling thread.

    `is_allowed` decides for a host and one of its addresses whether to connect. It sees the address that is connected
    to, so a name that changes its address between two lookups gains nothing.
    """

    def __init__(self, resolver: Resolver, is_allowed: Callable[[str, str], bool]) -> None:
        self._resolver = resolver
        self._is_allowed = is_allowed
        self._thread = threading.local()
        self._inner = httpcore2.SyncBackend()
        self._lock = threading.Lock()
        self._streams: WeakSet[BoundedStream] = WeakSet()
        self._is_interrupted = False

    @contextmanager
    def exchange(self, bounds: ExchangeBounds) -> Iterator[None]:
        """The bounds of everything that this thread does in the block."""
        self._thread.bounds = bounds
        try:
            yield
        finally:
            del self._thread.bounds

    def interrupt(self) -> None:
        """Ends what threads wait for on their connections, and lets no new connection be made."""
        with self._lock:
            self._is_interrupted = True
            streams = list(self._streams)
        for stream in streams:
            stream.interrupt()

    def track(self, stream: BoundedStream) -> BoundedStream:
        """Raises ConnectError, and closes the connection, if the backend is interrupted."""
        with self._lock:
            self._streams.add(stream)
            is_interrupted = self._is_interrupted
        if is_interrupted:
            stream.close()
            raise httpcore2.ConnectError("the client is closed")
        return stream

    def bounds(self) -> ExchangeBounds:
        bounds: ExchangeBounds = self._thread.bounds
        return bounds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """`timeout` is for the lookup and all addresses together."""
        timeout_s = self._capped(timeout)
        deadline_s = time.monotonic() + timeout_s
        addresses = self._resolver.addresses(host, port, timeout_s)
        refused = [address for address in addresses if not self._is_allowed(host, address)]
        if refused:
            raise InvalidDocument(
                f"{host} has the private address {refused[0]}, which base_url is not; set http.allow_private in the"
                " source's declaration if it is right"
            )
        error: Exception | None = None
        for address in addresses:
            left_s = self._capped(deadline_s - time.monotonic())
            if left_s <= 0:
                break
            try:
                inner = self._inner.connect_tcp(address, port, left_s, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failure:
                error = failure
            else:
                return self.track(BoundedStream(inner, self))
        raise error or httpcore2.ConnectTimeout(f"no connection to {host} within {timeout_s:.1f} s")

    def _capped(self, timeout: float | None) -> float:
        return _cap(timeout, self.bounds().left_s())


class BoundedStream(httpcore2.NetworkStream):
    """A connection. Its bounds are those of the calling thread's exchange, because connections are used again."""

    def __init__(self, inner: httpcore2.NetworkStream, backend: BoundedBackend) -> None:
        self._inner = inner
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        bounds = self._backend.bounds()
        data = self._inner.read(max_bytes, _cap(timeout, bounds.left_s()))
        bounds.count(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _cap(timeout, self._backend.bounds().left_s()))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Python bounds the whole handshake by the timeout, not each read of it."""
        timeout_s = _cap(timeout, self._backend.bounds().left_s())
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout_s)
        return self._backend.track(BoundedStream(inner, self._backend))

    def interrupt(self) -> None:
        """Called from another thread than the one that uses the connection, which then closes it."""
        connection = self._inner.get_extra_info("socket")
        with suppress(OSError):
            # Not the method of an SSLSocket: it would also end the encryption, while the other thread reads.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def only_public(host: str, address: str) -> bool:  # noqa: ARG001 - the signature of `is_allowed`
    return is_public(address)


def _cap(timeout: float | None, left_s: float) -> float:
    return left_s if timeout is None else min(timeout, left_s)
