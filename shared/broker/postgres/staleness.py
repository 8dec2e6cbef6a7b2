"""Tells by this process's own clock which values have not changed for a while.

Leases are times of the database's clock. If that clock is set back, the lease of a member that died seems to last that
much longer. A live member changes its lease with each renewal, so a lease that stays the same for its whole duration
has no living owner, whatever the clocks say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class UnchangedValues(Generic[K, V]):
    """Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._since: dict[K, tuple[V, float]] = {}

    def observe(self, values: Mapping[K, V], now_s: float) -> None:
        """The values as they are now. A key that is missing is forgotten."""
        before = self._since
        self._since = {
            key: before[key] if key in before and before[key][0] == value else (value, now_s)
            for key, value in values.items()
        }

    def longer_than(self, age_s: float, now_s: float) -> dict[K, V]:
        """The values that were seen unchanged for longer than this."""
        return {key: value for key, (value, since_s) in self._since.items() if now_s - since_s > age_s}
