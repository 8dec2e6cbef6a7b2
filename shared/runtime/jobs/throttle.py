"""When a job may go on, and how much it may do at once: its own rate, and what waits downstream."""

from __future__ import annotations

from shared.broker.contract import Broker
from shared.runtime.jobs.job import Job
from shared.runtime.jobs.pace import MOST_WAITING, Depth, Pressure, Quiet, Rate, Reading

# How long a wait for the rate lasts at most, before what is wanted of the job is looked at again.
MAX_WAIT_S = 0.5
# How long to wait before looking downstream again.
LOOK_S = 0.05


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
