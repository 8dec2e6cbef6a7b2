"""Limits the speed of a job: at most its own rate, and never so fast that live records wait behind it.

Callers pass in the time, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from shared.broker.contract import Broker
from shared.runtime.jobs.job import Job, Subscription
from shared.runtime.loops.batch_size import BatchSize

# A live record waits for the records before it downstream; a job adds at most this many plus one unit. Measured on two
# busy CPUs (bench/replay.py): 50 with units of 50 added 11 ms to the median of 60 ms from raw event to rows, 200 with
# units of 200 added 700 ms, and the replay was no faster.
MAX_BACKLOG = 50
# If no live record came for QUIET_S, the limits are multiplied by QUIET_FACTOR, which is faster. The next live record
# then waits once for what is in progress.
QUIET_S = 5.0
QUIET_FACTOR = 20
# A downstream service that made no progress for this long is paused or stopped, so no live record is delayed there.
STALLED_S = 5.0
# A unit is no larger than what the rate allows in this time.
SMOOTH_S = 0.5
# The longest wait for the rate before the worker checks the requested state of its job again, and the interval at
# which it checks downstream again.
MAX_WAIT_S = 0.5
RECHECK_S = 0.05


class Depth(NamedTuple):
    """A service's position and the end of a topic, each the sum of the offsets of all partitions."""

    position: int
    end: int

    @property
    def backlog(self) -> int:
        return self.end - self.position


class RecordRateLimit:
    """Limits the records per second; None: no limit."""

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._free_at_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """How long to wait before the next records, in seconds."""
        return max(0.0, self._free_at_s - now_s)

    def record(self, records: int, now_s: float) -> None:
        if self._per_s is not None:
            self._free_at_s = max(self._free_at_s, now_s) + records / self._per_s

    def max_unit(self, max_records: int) -> int:
        """The maximum number of records of one unit."""
        return max_records if self._per_s is None else max(1, min(max_records, int(self._per_s * SMOOTH_S)))


class Backpressure:
    """Detects downstream services with too large a backlog. One that makes no progress is ignored until it moves."""

    def __init__(self, stalled_s: float = STALLED_S) -> None:
        self._stalled_s = stalled_s
        self._moved: dict[Subscription, tuple[int, float]] = {}

    def blocking_subscription(
        self, depths: Mapping[Subscription, Depth], now_s: float, max_backlog: int = MAX_BACKLOG
    ) -> Subscription | None:
        """The subscription whose backlog is too large for more records; None if there is none."""
        for reading, depth in depths.items():
            moved = self._moved.get(reading)
            if moved is None or moved[0] != depth.position or depth.backlog <= max_backlog:
                self._moved[reading] = (depth.position, now_s)
        for reading, depth in sorted(depths.items()):
            moving = now_s - self._moved[reading][1] < self._stalled_s
            if depth.backlog > max_backlog and moving:
                return reading
        return None


class IdleDetector:
    """Detects that there is no live work: nothing was appended for a while to the topic in which live work begins."""

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._end: int | None = None
        self._since_s = 0.0

    def factor(self, end: int, now_s: float) -> int:
        """The factor by which a job's limits are multiplied. `end`: the sum of the topic's end offsets."""
        if end != self._end:
            self._end, self._since_s = end, now_s
        return QUIET_FACTOR if now_s - self._since_s >= self._quiet_s else 1


class Throttle:
    """Limits a job by its rate and by the backlog downstream, which it reads from the broker."""

    def __init__(self, broker: Broker, job: Job) -> None:
        self.waiting_for: str | None = None
        self._broker = broker
        self._job = job
        self._rate = RecordRateLimit(job.rate)
        self._backpressure = Backpressure()
        self._idle_detector = IdleDetector()
        self._factor = 1
        self._batch_size = BatchSize(job.unit_records * QUIET_FACTOR)

    @property
    def read_records(self) -> int:
        """The number of records to read ahead for a unit."""
        return self._job.unit_records * self._factor

    @property
    def unit_records(self) -> int:
        return min(self._rate.max_unit(self.read_records), self._batch_size.records)

    def shrink(self) -> None:
        """The unit took too long, or too much memory."""
        self._batch_size.shrink(self.unit_records)

    def wait_s(self, now_s: float) -> float:
        """How long to wait before calling again, in seconds; 0: the next unit may start."""
        if (wait_s := self._rate.wait_s(now_s)) > 0:
            self.waiting_for = None
            return min(wait_s, MAX_WAIT_S)
        self._factor = (
            1 if self._job.live_topic is None else self._idle_detector.factor(self._end_of(self._job.live_topic), now_s)
        )
        full = self._backpressure.blocking_subscription(self._depths(), now_s, MAX_BACKLOG * self._factor)
        self.waiting_for = None if full is None else f"{full[0]} to catch up on {full[1]}"
        return 0.0 if full is None else RECHECK_S

    def record(self, records: int, now_s: float) -> None:
        self._rate.record(records, now_s)
        self._batch_size.grow()

    def _end_of(self, topic: str) -> int:
        return sum(self._broker.end_offsets(self._broker.partitions(topic)).values())

    def _depths(self) -> dict[Subscription, Depth]:
        depths = {}
        for group, topic in self._job.downstream:
            positions = self._broker.committed(group, [topic])
            ends = self._broker.end_offsets(list(positions))
            depths[group, topic] = Depth(sum(positions.values()), sum(ends.values()))
        return depths
