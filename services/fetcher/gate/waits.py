"""Remembers what the requests of this process wait for at its gate, for status and metrics. Thread-safe."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import get_args

from services.fetcher.sources.documents import WaitReason

REASONS: tuple[WaitReason, ...] = get_args(WaitReason)


class Waits:
    """`now_s` is a monotonic clock, `count` is called with the reason of each wait."""

    def __init__(self, now_s: Callable[[], float], count: Callable[[WaitReason], object]) -> None:
        self._now_s = now_s
        self._count = count
        self._until_s: dict[WaitReason, float] = {}

    def add(self, reason: WaitReason, seconds: float) -> None:
        """A request waits for so many seconds from now, or is put back for this reason."""
        self._until_s[reason] = self._now_s() + seconds
        self._count(reason)

    def clear(self) -> None:
        """A request is made: nothing is waited for."""
        self._until_s.clear()

    def seconds(self, reason: WaitReason) -> float:
        """Seconds until the wait is over; 0 if none is under way."""
        return max(0.0, self._until_s.get(reason, 0.0) - self._now_s())

    def status(self, host: str, now: datetime) -> list[dict[str, str]]:
        """The waits under way, as JSON. `now` is the time in UTC."""
        seconds = {reason: self.seconds(reason) for reason in REASONS}
        return [
            {"host": host, "reason": reason, "until": (now + timedelta(seconds=wait_s)).isoformat(timespec="seconds")}
            for reason, wait_s in seconds.items()
            if wait_s > 0
        ]
