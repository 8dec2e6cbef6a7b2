"""A log with raw events, and a job over all of them that copies each to clean-events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg

from shared.broker.contract import NewRecord, Record, Unit
from shared.ops.operations import Command, Operation
from shared.ops.replays import OffsetSpan
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables import operations as operations_table
from shared.runtime.jobs.job import Job
from shared.runtime.jobs.job_lease import JobLease
from shared.runtime.jobs.loop import JobLoop
from shared.topics import CLEAN, RAW
from tests.shared.runtime.stage import append, broker_on, contents, raw

KIND = "replay"


class Bench:
    """`records` raw events with keys of their own, and one waiting operation."""

    def __init__(self, url: str, records: int) -> None:
        self.url = url
        self.broker = broker_on(url)
        self._brokers = [self.broker]
        self.connection = psycopg.connect(url, autocommit=True)
        append(self.broker, [raw(number, str(number)) for number in range(records)])
        tps = self.broker.partitions(RAW)
        ends = self.broker.end_offsets(tps)
        self.spans = {tp: OffsetSpan(0, ends[tp]) for tp in tps}
        self.operation_id = operations_table.create(self.connection, "cleaner", KIND, {}, "test", "").id

    def claim(self, worker: str = "one", lease_s: float = 10.0) -> JobLease:
        found = jobs_table.claim(self.connection, "cleaner", worker, [KIND], lease_s)
        assert found is not None
        assert found.id == self.operation_id
        return JobLease(self.url, found.id, worker)

    def loop(self, claimed: JobLease, **changes: Any) -> JobLoop:
        standing: dict[str, Any] = {"wanted": lambda _: True, "transform": copying, "unit_records": 10}
        job = Job(id=self.operation_id, spans=self.spans, **(standing | changes))
        self._brokers.append(broker_on(self.url))
        return JobLoop(self._brokers[-1], claimed, job)

    def row(self) -> Operation:
        found = operations_table.get(self.connection, self.operation_id)
        assert found is not None
        return found

    def say(self, said: Command) -> Operation:
        return operations_table.apply_command(self.connection, self.row(), said)

    def copied(self) -> list[int]:
        """The numbers of the copies, in order."""
        return sorted(int(record.value) for record in contents(self.broker, CLEAN))

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()
        self.connection.close()


@contextmanager
def working(loop: JobLoop) -> Iterator[None]:
    """In a thread, until it is over or the block is."""
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(loop.run)
        try:
            yield
        finally:
            loop.stop()
        run.result()


def number_of(record: Record) -> int:
    return int(record.key.rpartition(b":")[2])


def copying(records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
    unit.append([NewRecord(CLEAN, record.key, str(number_of(record)).encode(), {}) for record in records])
    return {"outputs": len(records)}


def after(calls: int, then: Callable[[], object]) -> Callable[[Sequence[Record], Unit], Mapping[str, int]]:
    """Copies; after so many units are filled, in the middle of that unit, something happens."""
    left = [calls]

    def transform(records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        left[0] -= 1
        counts = copying(records, unit)
        if left[0] == 0:
            then()
        return counts

    return transform
