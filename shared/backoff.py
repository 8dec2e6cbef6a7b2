"""Exponential backoff."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """The n-th delay is first_s * factor ** (n - 1), at most max_s.

    `jitter` is the share of a delay that is random: with 0.5, a delay of 4 s becomes 2 to 4 s.
    """

    first_s: float
    max_s: float = math.inf
    factor: float = 2.0
    jitter: float = 0.0
    random: Callable[[], float] = lambda: 0.0

    def delay_s(self, failures: int) -> float:
        """The delay after this many failures in a row, 1 or more."""
        # The exponent is bounded because failures are not: 2.0 ** 1024 is not a float.
        delay_s = min(self.max_s, self.first_s * self.factor ** min(failures - 1, 100))
        return delay_s * (1 - self.jitter * self.random())
