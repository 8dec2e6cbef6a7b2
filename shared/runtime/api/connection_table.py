"""The limits of a server's connections, and the table of those that are open."""

from __future__ import annotations

import resource
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from shared.runtime.api.throttle import NoteThrottle

CountStatus = Callable[[str], None]
"""Called with the status of each response that does not come from the app, or CLOSED."""

# The status under which a connection is counted that is closed without a response.
CLOSED = "closed"
# Descriptors that connections leave to the pipeline: database, broker, files, and a burst that is accepted at once.
RESERVED_DESCRIPTORS = 256


# The server's thread sleeps so long for each connection beyond the limit. A flood then cannot take the processor, and
# Python's lock, from the pipeline.
PACE_S = 0.002

log = structlog.get_logger(__name__)


class Connection(Protocol):
    def abort(self, reason: str) -> None: ...


@dataclass(frozen=True)
class ConnectionLimits:
    """`head_s`: time for request line and headers (and for the TLS handshake); `body_s`: for the body; `idle_s`:
    between two requests; `send_s`: for a client to read a part of a response; `young_s`: a connection that has waited
    less for its request is not closed in favour of a new one. `descriptors`: a connection whose file descriptor is not
    below this number is closed; None: the process's limit without RESERVED_DESCRIPTORS."""

    max_connections: int = 64
    head_s: float = 5.0
    body_s: float = 15.0
    idle_s: float = 5.0
    send_s: float = 10.0
    young_s: float = 0.25
    max_head_bytes: int = 16 * 1024
    descriptors: int | None = None


DEFAULT_LIMITS = ConnectionLimits()


class ConnectionTable:
    """All connections of a server. Used by its event loop only."""

    def __init__(self, limits: ConnectionLimits, count: CountStatus, tls: ssl.SSLContext | None) -> None:
        self.limits = limits
        self._count = count
        self._notes = NoteThrottle()
        self.tls = tls
        self.open: set[Connection] = set()
        # Connections without a request in work, the one that waits longest first, and since when: those that have sent
        # none yet, and those that have.
        self.new: dict[Connection, float] = {}
        self.idle: dict[Connection, float] = {}
        self._descriptors = usable_descriptors() if limits.descriptors is None else limits.descriptors

    def note(self, status: str, cause: str) -> None:
        """Counts a refusal, and logs one of each status a minute with the number of those left out."""
        self._count(status)
        if (suppressed := self._notes.count(status)) is not None:
            log.warning("connection_refused", status=status, cause=cause, suppressed=suppressed)

    def has_descriptors(self, descriptor: int) -> bool:
        """The system gives the lowest free number, so a high one says that few are left."""
        return descriptor < self._descriptors

    def make_room(self) -> bool:
        """Whether there is room for the newest connection. If it must, it closes the one that has waited longest, first
        of those that have sent no request."""
        if len(self.open) <= self.limits.max_connections:
            return True
        time.sleep(PACE_S)
        oldest, since = next(iter((self.new or self.idle).items()), (None, 0.0))
        if oldest is None or time.monotonic() - since < self.limits.young_s:
            return False
        oldest.abort("replaced by a new connection")
        return True


def usable_descriptors() -> int:
    """The first file descriptor that connections leave to the pipeline."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - min(RESERVED_DESCRIPTORS, limit // 4)
