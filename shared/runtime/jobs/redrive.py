"""Runs a redrive as a job (jobs/loop.py): sends dead letters of a service to its retry topic.

Records and cursor are one unit, so each letter is sent once, even if a worker is killed. The letters are marked as
settled in the database after the unit; a starting worker reads the offsets before its cursor and adds missing marks.
The letters of a redrive are determined when it is requested: it overlaps no other open redrive, and letters of an open
redrive cannot be discarded (shared/runtime/dead_letters/settlement.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from shared.broker.contract import Broker, Record, TopicPartition, Unit
from shared.broker.counting.read_range import sweep
from shared.database.connection import Link
from shared.ops.dead_letter_choice import Selection
from shared.ops.dead_letters import Place, letter_of, sent_back
from shared.ops.operations import Operation
from shared.ops.replays import Span
from shared.ops.tables import dead_letters as dead_letters_table
from shared.runtime.jobs.cursor import Cursor
from shared.runtime.jobs.job import Job
from shared.runtime.jobs.job_lease import Claimed
from shared.runtime.jobs.loop import JobLoop
from shared.runtime.jobs.thread import JobThread, thread_of
from shared.runtime.jobs.workers import Start
from shared.runtime.metrics import Metrics
from shared.topics import dead_letter_topic, retry_topic

# Small, so that the live loop, which also reads the retry topic, is not kept from its other records.
UNIT_RECORDS = 100


class Redriving:
    """One redrive. Not thread-safe."""

    def __init__(self, operation: Operation, broker: Broker, link: Link, metrics: Metrics) -> None:
        self._operation = operation
        self._broker = broker
        self._link = link
        self._metrics = metrics
        self._selection = Selection.from_json(operation.target)
        self._settled: Collection[Place] | None = None

    def job(self, unit_records: int = UNIT_RECORDS) -> Job:
        return Job(
            id=self._operation.id,
            spans={self._tp(p): Span(*span) for p, span in self._selection.spans.items()},
            wanted=self._wanted,
            transform=self._send_back,
            unit_records=unit_records,
            committed=self._note,
            downstream=frozenset({(self._operation.service, retry_topic(self._operation.service))}),
        )

    def _tp(self, partition: int) -> TopicPartition:
        return TopicPartition(dead_letter_topic(self._operation.service), partition)

    def _wanted(self, record: Record) -> bool:
        if self._settled is None:
            with self._link.use() as connection:
                self._settled = dead_letters_table.states(
                    connection, self._operation.service, except_by=self._operation.id
                ).keys()
        return self._selection.redrives(letter_of(record), self._settled) == "selected"

    def _send_back(self, records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        unit.append([sent_back(record, self._operation.service) for record in records])
        return {"redriven": len(records)}

    def _note(self, cursor: Cursor, records: Sequence[Record]) -> None:
        """Mark the records of a committed unit as settled; without records, those that previous workers have sent."""
        if records:
            self._settle(records)
            self._metrics.redriven_total.labels(outcome="sent").inc(len(records))
            return
        begins = {self._tp(p): begin for p, (begin, _) in self._selection.spans.items()}
        passed = {tp: (begin, cursor.next[tp]) for tp, begin in begins.items() if begin < cursor.next[tp]}
        for batch in sweep(self._broker, passed):
            self._settle([record for record in batch if self._wanted(record)])

    def _settle(self, records: Sequence[Record]) -> None:
        places = [Place(record.partition, record.offset) for record in records]
        operation = self._operation
        with self._link.use() as connection:
            dead_letters_table.settle(
                connection, operation.service, places, "redriven", operation.id, operation.requested_by
            )


def redriving(conninfo: str, connect: Callable[[], Broker], metrics: Metrics) -> Start:
    """Starts redrives (jobs/workers.py), each in its own thread, because copying records costs little CPU."""

    def start(operation: Operation, worker: str, _place: int) -> JobThread:
        @contextmanager
        def made() -> Iterator[JobLoop]:
            link = Link(conninfo, f"redrive {operation.id}", autocommit=True)
            try:
                with closing(connect()) as broker:
                    claimed = Claimed(conninfo, operation.id, worker)
                    yield JobLoop(broker, claimed, Redriving(operation, broker, link, metrics).job())
            finally:
                link.drop()

        return thread_of(made, f"redrive {operation.id}")

    return start
