"""How fast a job may go: at most its own rate, and never so fast that live records wait behind it.

The clock is passed in, in seconds of any steady clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from shared.broker.contract import Broker
from shared.runtime.jobs.job import Job, Reading

# Live records wait behind what lies before them downstream, and one unit is added to this. Measured on two busy
# processors (bench/replay.py): 50 and units of 50 added 11 ms to the median of 60 ms from raw event to rows, 200 and
# units of 200 added 700 ms, and the replay was no faster.
MOST_WAITING = 50
# Where nothing live came for so long, there is nothing to keep short: much more is done at once, which is faster, and
# the next live record waits once for what is under way.
QUIET_S = 5.0
QUIET_FACTOR = 20
# Downstream that got nowhere for so long is paused or stopped: nothing live moves there that could be held up.
STILL_S = 5.0
# A rate is kept over this time: units are no larger than what it allows in it.
SMOOTH_S = 0.5
# The longest wait for a rate before the worker looks again at what is wanted of its job, and that before it looks
# downstream again.
MAX_WAIT_S = 0.5
LOOK_S = 0.05


class Depth(NamedTuple):
    """Where a service is in a stream, over all partitions: sums of offsets."""

    position: int
    end: int

    @property
    def waiting(self) -> int:
        return self.end - self.position


class Rate:
    """At most so many records a second; without a limit, None."""

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._free_at_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """How long until the next records may go."""
        return max(0.0, self._free_at_s - now_s)

    def took(self, records: int, now_s: float) -> None:
        if self._per_s is not None:
            self._free_at_s = max(self._free_at_s, now_s) + records / self._per_s

    def unit(self, most: int) -> int:
        """How many records one unit may have."""
        return most if self._per_s is None else max(1, min(most, int(self._per_s * SMOOTH_S)))


class Pressure:
    """Whether everything downstream has room; what stands still is not waited for, until it moves again."""

    def __init__(self, still_s: float = STILL_S) -> None:
        self._still_s = still_s
        self._moved: dict[Reading, tuple[int, float]] = {}

    def holds_back(
        self, depths: Mapping[Reading, Depth], now_s: float, most_waiting: int = MOST_WAITING
    ) -> Reading | None:
        """Who has too much to do for more to come; None: go on."""
        for reading, depth in depths.items():
            moved = self._moved.get(reading)
            if moved is None or moved[0] != depth.position or depth.waiting <= most_waiting:
                self._moved[reading] = (depth.position, now_s)
        for reading, depth in sorted(depths.items()):
            moving = now_s - self._moved[reading][1] < self._still_s
            if depth.waiting > most_waiting and moving:
                return reading
        return None


class Quiet:
    """Whether nothing live is under way: nothing was appended for a while to where all of it begins."""

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._end: int | None = None
        self._since_s = 0.0

    def factor(self, end: int, now_s: float) -> int:
        """How many times as much a job may do at once, given the sum of end offsets there."""
        if end != self._end:
            self._end, self._since_s = end, now_s
        return QUIET_FACTOR if now_s - self._since_s >= self._quiet_s else 1


class Throttle:
    """Asks the broker how much there is downstream. Times are of any steady clock, seconds."""

    def __init__(self, broker: Broker, job: Job) -> None:
        self.waiting_for: str | None = None
        self._broker = broker
        self._job = job
        self._rate = Rate(job.rate)
        self._pressure = Pressure()
        self._quiet = Quiet()
        self._factor = 1

    @property
    def read_records(self) -> int:
        """How many records to read ahead for a unit."""
        return self._job.unit_records * self._factor

    @property
    def unit_records(self) -> int:
        return self._rate.unit(self.read_records)

    def wait_s(self, now_s: float) -> float:
        """How long to wait before asking again; 0: go on."""
        if (wait_s := self._rate.wait_s(now_s)) > 0:
            self.waiting_for = None
            return min(wait_s, MAX_WAIT_S)
        self._factor = 1 if self._job.beside is None else self._quiet.factor(self._end_of(self._job.beside), now_s)
        full = self._pressure.holds_back(self._depths(), now_s, MOST_WAITING * self._factor)
        self.waiting_for = None if full is None else f"{full[0]}, which has {full[1]} to work off"
        return 0.0 if full is None else LOOK_S

    def took(self, records: int, now_s: float) -> None:
        self._rate.took(records, now_s)

    def _end_of(self, topic: str) -> int:
        return sum(self._broker.end_offsets(self._broker.partitions(topic)).values())

    def _depths(self) -> dict[Reading, Depth]:
        depths = {}
        for group, topic in self._job.downstream:
            positions = self._broker.committed(group, [topic])
            ends = self._broker.end_offsets(list(positions))
            depths[group, topic] = Depth(sum(positions.values()), sum(ends.values()))
        return depths
