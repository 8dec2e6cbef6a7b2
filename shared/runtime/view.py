"""What a loop shows of itself: read by the admin app and the heartbeat, in their threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from shared.broker.contract import Broker
from shared.errors import TransientError

# A loop ticks at least every poll (0.5 s) when idle; a unit may take a database's worst second. This is far beyond.
ALIVE_S = 60.0
# What a loop may be in with nothing wrong; paused on purpose is not.
READY = frozenset({"running", "paused", "standing by"})


class Shown(Protocol):
    """The part of a loop that may be read from another thread: plain values only.

    `trouble` is why it is in a state that is not ready, where there is more to say than the state's name.
    """

    service: str
    reads: tuple[str, ...]
    state: str
    trouble: str
    ticked_at: float
    assigned: int


class LoopView:
    """Answers for a loop, with a broker of its own (one call at a time), never with the loop's."""

    def __init__(
        self,
        loop: Shown,
        broker: Broker,
        replica: str,
        detail: Callable[[], dict[str, Any]] = dict,
        *,
        streams: bool = True,
    ) -> None:
        self._loop = loop
        self._broker = broker
        self._replica = replica
        self._detail = detail
        self._streams = streams
        self._lock = threading.Lock()

    def alive(self) -> bool:
        return time.monotonic() - self._loop.ticked_at < ALIVE_S

    def ready(self) -> tuple[bool, str]:
        if self._loop.state not in READY:
            return False, ": ".join(filter(None, (self._loop.state, self._loop.trouble)))
        try:
            with self._lock:
                self._broker.health()
        except TransientError as error:
            return False, str(error)
        return True, f"{self._loop.assigned} partitions"

    def status(self) -> dict[str, Any]:
        return {
            "service": self._loop.service,
            "replica": self._replica,
            "state": self._loop.state,
            "detail": self._detail() | {"partitions": self._loop.assigned},
        }

    def lag(self) -> list[dict[str, Any]]:
        """Per partition that the service's group reads, over all of its replicas."""
        if not self._streams:
            return []
        with self._lock:
            positions = self._broker.committed(self._loop.service, self._loop.reads)
            ends = self._broker.end_offsets(list(positions))
        return [
            {"topic": tp.topic, "partition": tp.partition, "position": position, "end": ends[tp],
             "records": max(0, ends[tp] - position)}
            for tp, position in sorted(positions.items())
        ]  # fmt: skip
