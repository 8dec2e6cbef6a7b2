"""Faults that a test plans: error responses, refusals, broken connections and slow answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD /path" matches `route` (with * and ?).

    `status` 429: refused for `retry_after_s`. Another `status`: this response, with Discord's error `code`.
    `disconnects`: the connection ends without a response. `is_executed`: the request has its effect before that.
    `delay_s`: the wait before the response. `is_held`: the response waits as long as this returns True.
    """

    route: str
    times: int = 1
    status: int | None = None
    code: int = 0
    retry_after_s: float = 0.1
    is_global: bool = False
    disconnects: bool = False
    is_executed: bool = False
    delay_s: float = 0.0
    is_held: Callable[[], bool] | None = None
    hits: int = 0

    def matches(self, method: str, path: str) -> bool:
        return self.hits < self.times and fnmatchcase(f"{method} {path}", self.route)


class FaultPlan:
    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def next(self, method: str, path: str) -> Fault | None:
        """The first fault that matches a request; it counts as used. `path` is below /api/v10."""
        fault = next((each for each in self._faults if each.matches(method, path)), None)
        if fault is not None:
            fault.hits += 1
        return fault


@dataclass
class GatewayFaults:
    """Faults of the gateway.

    `delays_sessions`: READY and RESUMED wait. `ignores_heartbeats`: no heartbeat is acknowledged.
    `invalidates`: the answers to the next sessions, each True (can be resumed) or False, instead of READY or RESUMED.
    `refused_codes`: the close codes with which the next connections end after HELLO.
    """

    delays_sessions: bool = False
    ignores_heartbeats: bool = False
    invalidates: list[bool] | None = None
    refused_codes: list[int] | None = None

    def next_invalidation(self) -> bool | None:
        return self.invalidates.pop(0) if self.invalidates else None

    def next_close_code(self) -> int | None:
        return self.refused_codes.pop(0) if self.refused_codes else None
