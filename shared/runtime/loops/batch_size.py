"""Chooses the number of records of the next batch: half after a time-out, larger again while batches succeed."""

from __future__ import annotations

# The number of batches that must succeed in a row before a larger one is tried. A larger one that times out costs the
# whole limit again, so the number doubles each time, up to the maximum.
FIRST_STREAK = 8
MAX_STREAK = 512


class BatchSize:
    """`records` is the maximum of the next batch, from 1 to `maximum`."""

    def __init__(self, maximum: int) -> None:
        self.records = maximum
        self._maximum = maximum
        self._required_streak = FIRST_STREAK
        self._streak = 0

    def shrink(self, records: int) -> None:
        """A batch of this many records timed out."""
        self.records = max(1, min(self.records, records) // 2)
        self._streak = 0
        self._required_streak = min(MAX_STREAK, 2 * self._required_streak)

    def grow(self) -> None:
        """A batch succeeded."""
        if self.records == self._maximum:
            self._required_streak = FIRST_STREAK
            return
        self._streak += 1
        if self._streak >= self._required_streak:
            self.records = min(self._maximum, 2 * self.records)
            self._streak = 0
