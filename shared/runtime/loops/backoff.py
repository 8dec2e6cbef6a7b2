"""How long to wait after trouble that may pass. Randomness is passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FIRST_S = 0.1
FACTOR = 2.0
# Outages of a database are over in seconds: a longer cap would only make the recovery slower.
CAP_S = 3.0
# 2**16 * FIRST_S is far beyond the cap; 2**1024 would be no float, after an hour's outage.
MOST_DOUBLINGS = 16


@dataclass
class Backoff:
    """Exponential, capped, with full jitter, so that replicas do not come back in step."""

    random: Callable[[], float]
    failures: int = 0

    def next_s(self) -> float:
        delay_s = min(CAP_S, FIRST_S * FACTOR ** min(self.failures, MOST_DOUBLINGS))
        self.failures += 1
        return delay_s * (0.5 + 0.5 * self.random())

    def reset(self) -> None:
        self.failures = 0
