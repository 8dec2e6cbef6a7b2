"""Limits how often something is noted, and counts what is left out."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from ipaddress import ip_address, ip_network

INTERVAL_S = 60.0
# Keys that are remembered; the one noted longest ago is forgotten first.
MAX_KEYS = 1024


class NoteThrottle:
    """At most one note a minute for each key. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._lock = threading.Lock()
        # By key: the time of the last note, and how many were left out since.
        self._noted: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def count(self, key: Hashable) -> int | None:
        """How many notes were left out since the last one of this key; None if this one is left out too."""
        with self._lock:
            return self._count(key, self._clock())

    def _count(self, key: Hashable, now_s: float) -> int | None:
        noted_s, left_out = self._noted.get(key, (None, 0))
        if noted_s is not None and now_s - noted_s < INTERVAL_S:
            self._noted[key] = (noted_s, left_out + 1)
            return None
        self._noted[key] = (now_s, 0)
        self._noted.move_to_end(key)
        while len(self._noted) > self._max_keys:
            self._noted.popitem(last=False)
        return left_out


def address_class(host: str) -> str:
    """The network of a client: the first 24 bits of an IPv4 address, the first 64 of an IPv6 address."""
    try:
        address = ip_address(host)
    except ValueError:
        return "unknown"
    return str(ip_network(f"{address}/{24 if address.version == 4 else 64}", strict=False))
