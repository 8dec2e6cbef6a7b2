"""Decides when a stage has recovered from a fault.

A stage has recovered when each of its partitions has committed something new, or has nothing left to do and the source
is drained. One live replica next to a dead one is not enough: the partitions of the dead one must move too. Every unit
of the fetcher brings new records to every partition, so the fetcher's pace is the resolution of the measurement.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.broker.contract import TopicPartition
from shared.topics import CLEAN, LOADED, RAW

# The topic that shows the progress of each stage. The fetcher reads none; it appends to raw-events.
READS = {"cleaner": RAW, "loader": CLEAN, "predictor": LOADED, "notifier": LOADED}
# On Kafka a partition ends with one or more transaction markers, which no consumer reads.
MARKERS = 3
MEDIAN_LIMIT_S, WORST_LIMIT_S = 5.0, 20.0


@dataclass(frozen=True)
class Sample:
    """Positions at one time: committed by each stage, ends of the topics. `drained`: all windows are fetched."""

    committed: Mapping[str, Mapping[TopicPartition, int]]
    ends: Mapping[TopicPartition, int]
    drained: bool = False

    def positions_of(self, service: str) -> Mapping[TopicPartition, int]:
        if service == "fetcher":
            return {tp: end for tp, end in self.ends.items() if tp.topic == RAW}
        return self.committed[service]


def settled_baseline(sample: Sample, begins: Mapping[TopicPartition, int]) -> Sample:
    """The sample, with positions that point outside their logs moved to the next record that is there. Behind a loss,
    only a position beyond the baseline is progress."""

    def inside(tp: TopicPartition, position: int) -> int:
        return min(max(position, begins.get(tp, position)), sample.ends.get(tp, position))

    committed = {
        service: {tp: inside(tp, position) for tp, position in positions.items()}
        for service, positions in sample.committed.items()
    }
    return Sample(committed, sample.ends, sample.drained)


def has_recovered(service: str, before: Sample, now: Sample) -> bool:
    """Whether the stage has made progress in every partition since `before`."""
    then, current = before.positions_of(service), now.positions_of(service)
    # A position behind the end belongs to a log that does not exist any more.
    waiting = [tp for tp in then if current[tp] <= then[tp] or current[tp] > now.ends[tp]]
    if service == "fetcher":
        return len(waiting) < len(then) or now.drained
    return not waiting or (now.drained and all(current[tp] >= now.ends[tp] - MARKERS for tp in waiting))


class Recovery(NamedTuple):
    """One fault and the time until its stages recovered, in seconds; None if they did not recover in time."""

    kind: str
    what: str
    seconds: float | None


@dataclass
class Recoveries:
    """All recoveries of a run."""

    measured: list[Recovery] = field(default_factory=list)

    def problems(self) -> list[str]:
        """The exceeded limits, one line each."""
        lines = [f"NOT RECOVERED: {recovery.what}" for recovery in self.measured if recovery.seconds is None]
        median_s, worst_s = median_and_worst(self.measured)
        if median_s > MEDIAN_LIMIT_S:
            lines.append(f"SLOW: the median recovery took {median_s:.1f} s, more than {MEDIAN_LIMIT_S:g}")
        if worst_s > WORST_LIMIT_S:
            lines.append(f"SLOW: the worst recovery took {worst_s:.1f} s, more than {WORST_LIMIT_S:g}")
        return lines


def median_and_worst(recoveries: Iterable[Recovery]) -> tuple[float, float]:
    seconds = [recovery.seconds for recovery in recoveries if recovery.seconds is not None]
    return (statistics.median(seconds), max(seconds)) if seconds else (0.0, 0.0)
