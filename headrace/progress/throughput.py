"""Rates of the stages over a run, from readings of how far each is. Time is passed in, in seconds.

It counts offsets, which on Kafka are a few more than records: good enough to look at while a run goes on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from headrace.progress.positions import Positions
from shared.topics import SERVICES

# What "now" means for a rate that people look at.
RECENT_S = 5.0


@dataclass
class _Stage:
    first: int
    busy_from_s: float
    last: int
    moved_s: float | None
    recent: deque[tuple[float, int]]  # never empty


class Meter:
    """Feed it with readings; a stage's rate counts from its last rest before it first moved to its last move."""

    def __init__(self, start: Positions, at_s: float) -> None:
        self.start = start
        self._stages = {service: _resting(start.handled(service), at_s) for service in SERVICES}

    def read(self, positions: Positions, at_s: float) -> bool:
        """Whether any stage moved."""
        moved = False
        for service, stage in self._stages.items():
            count = positions.handled(service)
            if count != stage.last:
                moved = True
                stage.last, stage.moved_s = count, at_s
            elif stage.moved_s is None:
                stage.busy_from_s = at_s
            stage.recent.append((at_s, count))
            while at_s - stage.recent[0][0] > RECENT_S:
                stage.recent.popleft()
        return moved

    def records(self, service: str) -> int:
        return self._stages[service].last - self._stages[service].first

    def busy_s(self, service: str) -> float:
        """How long the stage took for what it did, rests before and after left out; 0 when it did nothing."""
        stage = self._stages[service]
        return 0.0 if stage.moved_s is None else max(stage.moved_s - stage.busy_from_s, 0.001)

    def recent_per_s(self, service: str) -> float:
        (from_s, first), (to_s, last) = self._stages[service].recent[0], self._stages[service].recent[-1]
        return (last - first) / (to_s - from_s) if to_s > from_s else 0.0

    def idle_s(self, service: str, at_s: float) -> float | None:
        """Seconds since the stage last moved; None when it has not in this run."""
        moved_s = self._stages[service].moved_s
        return None if moved_s is None else at_s - moved_s


def _resting(count: int, at_s: float) -> _Stage:
    return _Stage(count, at_s, count, None, deque([(at_s, count)]))
