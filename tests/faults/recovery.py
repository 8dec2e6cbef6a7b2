"""When a hit stage is back. Pure.

A stage is back when each of its partitions has committed something that it had not at the fault, or has nothing left
to do while the source has nothing left either. One replica that goes on beside a dead one is not enough: the dead
one's partitions must move too. New records of every partition come with each unit of the fetcher, so the pace of the
fetcher is what this cannot see below.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.broker.contract import TopicPartition
from shared.topics import CLEAN, LOADED, RAW

# What each stage's progress is read from; the fetcher reads nothing, and its progress is what it appends.
READS = {"cleaner": RAW, "loader": CLEAN, "predictor": LOADED, "notifier": LOADED}
# On Kafka a partition ends with the mark of a transaction, or with some, that nobody can read past.
MARKERS = 3
MEDIAN_LIMIT_S, WORST_LIMIT_S = 5.0, 20.0


@dataclass(frozen=True)
class Sample:
    """Positions at one moment: what each stage has committed, and where its topic ends."""

    done: Mapping[str, Mapping[TopicPartition, int]]
    ends: Mapping[TopicPartition, int]
    drained: bool = False

    def stage(self, service: str) -> Mapping[TopicPartition, int]:
        if service == "fetcher":
            return {tp: end for tp, end in self.ends.items() if tp.topic == RAW}
        return self.done[service]


def is_back(service: str, before: Sample, now: Sample) -> bool:
    """Whether the stage has moved on since `before`."""
    was, is_ = before.stage(service), now.stage(service)
    waiting = [tp for tp in was if is_[tp] <= was[tp]]
    if service == "fetcher":
        return len(waiting) < len(was) or now.drained
    return not waiting or (now.drained and all(is_[tp] >= now.ends[tp] - MARKERS for tp in waiting))


class Took(NamedTuple):
    """One fault and how long its stage was away, in seconds; None where it did not come back in time."""

    kind: str
    what: str
    seconds: float | None


@dataclass
class Recoveries:
    """All of a run's."""

    taken: list[Took] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Where the limits are broken."""
        wrong = [f"NOT BACK: {took.what}" for took in self.taken if took.seconds is None]
        median_s, worst_s = median_and_worst(self.taken)
        if median_s > MEDIAN_LIMIT_S:
            wrong.append(f"SLOW: the median recovery took {median_s:.1f} s, more than {MEDIAN_LIMIT_S:g}")
        if worst_s > WORST_LIMIT_S:
            wrong.append(f"SLOW: the worst recovery took {worst_s:.1f} s, more than {WORST_LIMIT_S:g}")
        return wrong


def median_and_worst(taken: Iterable[Took]) -> tuple[float, float]:
    seconds = [took.seconds for took in taken if took.seconds is not None]
    return (statistics.median(seconds), max(seconds)) if seconds else (0.0, 0.0)
