"""A log with raw events, and a job that copies all of them to clean-events."""

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
from tests.shared.runtime.loop_harness import append, contents, open_broker, raw

KIND = "replay"


class JobTestbed:
    """A log with `records` raw events, each with its own key, and one waiting operation."""

    def __init__(self, url: str, records: int) -> None:
        self.url = url
        self.broker = open_broker(url)
        self._brokers = [self.broker]
        self.connection = psycopg.connect(url, autocommit=True)
        append(self.broker, [raw(number, str(number)) for number in range(records)])
        tps = self.broker.partitions(RAW)
        ends = self.broker.end_offsets(tps)
        self.spans = {tp: OffsetSpan(0, ends[tp]) for tp in tps}
        self.operation_id = operations_table.create(self.connection, "cleaner", KIND, {}, "test", "").id

    def claim(self, worker: str = "one", lease_s: float = 10.0) -> JobLease:
        operation = jobs_table.claim(self.connection, "cleaner", worker, [KIND], lease_s)
        assert operation is not None
        assert operation.id == self.operation_id
        return JobLease(self.url, operation.id, worker)

    def loop(self, lease: JobLease, **changes: Any) -> JobLoop:
        defaults: dict[str, Any] = {"is_selected": lambda _: True, "transform": copy_records, "unit_records": 10}
        job = Job(id=self.operation_id, spans=self.spans, **(defaults | changes))
        self._brokers.append(open_broker(self.url))
        return JobLoop(self._brokers[-1], lease, job)

    def row(self) -> Operation:
        operation = operations_table.get(self.connection, self.operation_id)
        assert operation is not None
        return operation

    def apply_command(self, command: Command) -> Operation:
        return operations_table.apply_command(self.connection, self.row(), command)

    def copied_numbers(self) -> list[int]:
        """The sorted numbers of the copies."""
        return sorted(int(record.value) for record in contents(self.broker, CLEAN))

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()
        self.connection.close()


@contextmanager
def run_in_thread(loop: JobLoop) -> Iterator[None]:
    """Runs the loop in a thread until it or the block ends."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(loop.run)
        try:
            yield
        finally:
            loop.stop()
        future.result()


def number_of(record: Record) -> int:
    return int(record.key.rpartition(b":")[2])


def copy_records(records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
    unit.append([NewRecord(CLEAN, record.key, str(number_of(record)).encode(), {}) for record in records])
    return {"outputs": len(records)}


def copy_and_call(calls: int, action: Callable[[], object]) -> Callable[[Sequence[Record], Unit], Mapping[str, int]]:
    """Copies the records; calls `action` inside unit number `calls`, after its records are appended."""
    remaining = [calls]

    def transform(records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        remaining[0] -= 1
        counts = copy_records(records, unit)
        if remaining[0] == 0:
            action()
        return counts

    return transform
