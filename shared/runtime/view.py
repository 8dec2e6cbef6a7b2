"""What a loop shows of itself: read by the admin app and the heartbeat, in their threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from shared.broker.contract import Broker
from shared.errors import TransientError
from shared.runtime.lag import LagMeter

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
        meter: LagMeter | None = None,
    ) -> None:
        """`meter`: for a loop that reads streams."""
        self._loop = loop
        self._broker = broker
        self._replica = replica
        self._detail = detail
        self._meter = meter
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
        detail = self._detail() | {"partitions": self._loop.assigned}
        if self._meter is not None and (ignored := self._meter.ignored()):
            detail["ignored_group_offsets"] = ignored
        return {"service": self._loop.service, "replica": self._replica, "state": self._loop.state, "detail": detail}

    def lag(self, *, thorough: bool = False) -> list[dict[str, Any]]:
        """Per partition that the service's group reads, over all of its replicas (lag.PartitionLag)."""
        if self._meter is None:
            return []
        return [each._asdict() for each in self._meter.measure(self._loop.reads, thorough=thorough)]
