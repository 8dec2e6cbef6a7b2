"""Measures for how long a run has made no progress."""

from __future__ import annotations

import time
from collections.abc import Callable


class StallClock:
    """Seconds since the last progress, by a monotonic clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._progress_at_s = now()

    def reset(self) -> None:
        """Call on every progress, and while a wait is intended."""
        self._progress_at_s = self._now()

    def stalled_s(self) -> float:
        return self._now() - self._progress_at_s
