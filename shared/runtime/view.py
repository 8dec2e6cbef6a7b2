"""Reports a loop's liveness, readiness, status and lag to the admin app and the heartbeat, in their threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from shared.broker.contract import Broker
from shared.errors import TransientError
from shared.runtime.lag import LagMeter

# Far above the interval of ticks: an idle loop ticks every 0.5 s, and a unit on a slow database takes seconds.
ALIVE_S = 60.0
# The states in which nothing is wrong; a deliberate pause is one of them.
READY = frozenset({"running", "paused", "standing by"})


class LoopState(Protocol):
    """The part of a loop that other threads may read: plain values only.

    `trouble` is the reason for a state that is not ready, if there is more to say than the state's name.
    """

    service: str
    reads: tuple[str, ...]
    state: str
    trouble: str
    ticked_at: float
    assigned: int


class LoopView:
    """Reports on a loop. Uses a broker of its own, one call at a time, never the loop's."""

    def __init__(
        self,
        loop: LoopState,
        broker: Broker,
        replica: str,
        detail: Callable[[], dict[str, Any]] = dict,
        meter: LagMeter | None = None,
        problem: Callable[[], str] = str,
        alive_s: float = ALIVE_S,
    ) -> None:
        """`meter`: given for a loop that reads topics. `problem`: says what is wrong beside the
        loop, empty if nothing. `alive_s`: the time without a tick after which the loop counts as hung."""
        self._loop = loop
        self._broker = broker
        self._replica = replica
        self._detail = detail
        self._meter = meter
        self._problem = problem
        self._alive_s = alive_s
        self._lock = threading.Lock()

    def alive(self) -> bool:
        return time.monotonic() - self._loop.ticked_at < self._alive_s

    def ready(self) -> tuple[bool, str]:
        if self._loop.state not in READY:
            return False, ": ".join(filter(None, (self._loop.state, self._loop.trouble)))
        if problem := self._problem():
            return False, problem
        try:
            with self._lock:
                self._broker.health()
        except TransientError as error:
            return False, str(error)
        return True, f"{self._loop.assigned} partitions"

    def status(self) -> dict[str, Any]:
        detail = self._detail() | {"partitions": self._loop.assigned}
        if self._meter is not None and (ignored := self._meter.ignored_offsets()):
            detail["ignored_group_offsets"] = ignored
        return {"service": self._loop.service, "replica": self._replica, "state": self._loop.state, "detail": detail}

    def lag(self, *, thorough: bool = False) -> list[dict[str, Any]]:
        """The lag of each partition that the service reads, over all replicas, as dicts of lag.PartitionLag."""
        if self._meter is None:
            return []
        return [each._asdict() for each in self._meter.measure(self._loop.reads, thorough=thorough)]
