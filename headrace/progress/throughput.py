"""Rates of the stages over a run, computed from readings of their positions. Times are passed in, in seconds.

Rates count offsets, which on Kafka are slightly more than records.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from headrace.progress.positions import PipelinePositions
from shared.topics import SERVICES

# The span over which the current rate is averaged.
RECENT_S = 5.0
# The rates that a chart shows: one sample a second.
SAMPLE_EVERY_S = 1.0
SAMPLES = 40


@dataclass
class _StageRates:
    first: int
    busy_from_s: float
    last: int
    moved_s: float | None
    recent: deque[tuple[float, int]]  # never empty
    sampled_s: float
    samples: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    peak_per_s: float = 0.0

    def recent_per_s(self) -> float:
        (from_s, first), (to_s, last) = self.recent[0], self.recent[-1]
        return (last - first) / (to_s - from_s) if to_s > from_s else 0.0

    def add(self, at_s: float, count: int) -> None:
        """Add a count, and once a second a sample of the current rate.

        The peak ignores a rate over less than SAMPLE_EVERY_S: one batch would make it far too high.
        """
        self.recent.append((at_s, count))
        while at_s - self.recent[0][0] > RECENT_S:
            self.recent.popleft()
        if at_s - self.sampled_s >= SAMPLE_EVERY_S:
            self.sampled_s = at_s
            self.samples.append(self.recent_per_s())
            if self.recent[-1][0] - self.recent[0][0] >= SAMPLE_EVERY_S:
                self.peak_per_s = max(self.peak_per_s, self.recent_per_s())


class Throughput:
    """Computes the rates from readings, one per call of `read`.

    The busy time of a stage begins with the last reading before its position first changed, and ends with the reading
    of its last change.
    """

    def __init__(self, start: PipelinePositions, at_s: float) -> None:
        self.start = start
        self._stages = {service: _idle_stage(start.handled(service), at_s) for service in SERVICES}

    def read(self, positions: PipelinePositions, at_s: float) -> bool:
        """Add a reading. Returns whether any stage moved since the last one."""
        moved = False
        for service, stage in self._stages.items():
            count = positions.handled(service)
            if count != stage.last:
                moved = True
                stage.last, stage.moved_s = count, at_s
            elif stage.moved_s is None:
                stage.busy_from_s = at_s
            stage.add(at_s, count)
        return moved

    def rest(self, at_s: float) -> None:
        """Lets the current rates fall while no reading arrives: the latest counts are added again, at this time."""
        for stage in self._stages.values():
            if at_s - stage.recent[-1][0] >= SAMPLE_EVERY_S:
                stage.add(at_s, stage.last)

    def records(self, service: str) -> int:
        """The number of offsets that the stage has handled in this run."""
        return self._stages[service].last - self._stages[service].first

    def busy_s(self, service: str) -> float:
        """How long the stage was busy; 0 if it handled nothing."""
        stage = self._stages[service]
        return 0.0 if stage.moved_s is None else max(stage.moved_s - stage.busy_from_s, 0.001)

    def recent_per_s(self, service: str) -> float:
        return self._stages[service].recent_per_s()

    def peak_per_s(self, service: str) -> float:
        """The highest sample of the current rate, which is averaged over at most RECENT_S."""
        return self._stages[service].peak_per_s

    def samples(self, service: str) -> tuple[float, ...]:
        """The latest rates, one a second, oldest first."""
        return tuple(self._stages[service].samples)


def _idle_stage(count: int, at_s: float) -> _StageRates:
    return _StageRates(count, at_s, count, None, deque([(at_s, count)]), at_s)
