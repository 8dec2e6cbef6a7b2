"""Resolves host names within a time limit.

getaddrinfo cannot be interrupted, so it runs in a daemon thread. There is at most one such thread for each host: a
caller joins the lookup that is in progress. The hosts are those of the declaration, which bounds their number.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from shared.errors import TransientError

MAX_ADDRESSES = 8

Lookup = Callable[[str, int], list[str]]
"""Returns the addresses of a host. Raises OSError."""


class Resolver:
    """Thread-safe."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        self._lookup = lookup or system_lookup
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], Future[list[str]]] = {}

    def addresses(self, host: str, port: int, timeout_s: float) -> list[str]:
        """At most MAX_ADDRESSES addresses. Raises TransientError if there is none or the time is over."""
        try:
            addresses = self._future(host, port).result(timeout_s)
        except FutureTimeout as error:
            raise TransientError(f"the name {host} was not resolved within {timeout_s:.1f} s") from error
        except (OSError, UnicodeError) as error:
            raise TransientError(f"cannot resolve {host}: {error}") from error
        if not addresses:
            raise TransientError(f"cannot resolve {host}: it has no address")
        return list(dict.fromkeys(addresses))[:MAX_ADDRESSES]

    def _future(self, host: str, port: int) -> Future[list[str]]:
        key = (host, port)
        with self._lock:
            future = self._lookups.get(key)
            if future is None:
                future = self._lookups[key] = Future()
                threading.Thread(target=self._run, args=(key, future), name=f"resolve {host}", daemon=True).start()
            return future

    def _run(self, key: tuple[str, int], future: Future[list[str]]) -> None:
        try:
            addresses = self._lookup(*key)
        except BaseException as error:  # noqa: BLE001 - passed to the callers
            outcome: list[str] | BaseException = error
        else:
            outcome = addresses
        with self._lock:
            del self._lookups[key]
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def system_lookup(host: str, port: int) -> list[str]:
    """The addresses from the operating system, in its order of preference."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
