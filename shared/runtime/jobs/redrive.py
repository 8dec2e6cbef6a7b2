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
from shared.broker.counting.read_range import read_range
from shared.database.connection import ReconnectingConnection
from shared.ops.dead_letter_choice import DeadLetterSelection
from shared.ops.dead_letters import DeadLetterPlace, letter_of, retry_record
from shared.ops.operations import Operation
from shared.ops.replays import OffsetSpan
from shared.ops.tables import dead_letters as dead_letters_table
from shared.runtime.jobs.cursor import JobCursor
from shared.runtime.jobs.job import Job
from shared.runtime.jobs.job_lease import JobLease
from shared.runtime.jobs.loop import JobLoop
from shared.runtime.jobs.thread import JobThread, start_job_thread
from shared.runtime.jobs.workers import StartWorker
from shared.runtime.metrics import Metrics
from shared.topics import dead_letter_topic, retry_topic

# Small, so that the live loop, which also reads the retry topic, is not kept from its other records.
UNIT_RECORDS = 100


class RedriveRun:
    """One redrive. Not thread-safe."""

    def __init__(self, operation: Operation, broker: Broker, link: ReconnectingConnection, metrics: Metrics) -> None:
        self._operation = operation
        self._broker = broker
        self._link = link
        self._metrics = metrics
        self._selection = DeadLetterSelection.from_json(operation.target)
        self._settled_places: Collection[DeadLetterPlace] | None = None

    def job(self, unit_records: int = UNIT_RECORDS) -> Job:
        return Job(
            id=self._operation.id,
            spans={self._tp(p): OffsetSpan(*span) for p, span in self._selection.spans.items()},
            is_selected=self._is_selected,
            transform=self._send_back,
            unit_records=unit_records,
            on_commit=self._on_commit,
            downstream=frozenset({(self._operation.service, retry_topic(self._operation.service))}),
        )

    def _tp(self, partition: int) -> TopicPartition:
        return TopicPartition(dead_letter_topic(self._operation.service), partition)

    def _is_selected(self, record: Record) -> bool:
        if self._settled_places is None:
            with self._link.use() as connection:
                self._settled_places = dead_letters_table.states(
                    connection, self._operation.service, except_by=self._operation.id
                ).keys()
        return self._selection.redrive_verdict(letter_of(record), self._settled_places) == "selected"

    def _send_back(self, records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        unit.append([retry_record(record, self._operation.service) for record in records])
        return {"redriven": len(records)}

    def _on_commit(self, cursor: JobCursor, records: Sequence[Record]) -> None:
        """Mark the records of a committed unit as settled; without records, those that previous workers have sent."""
        if records:
            self._mark_settled(records)
            self._metrics.redriven_total.labels(outcome="sent").inc(len(records))
            return
        begins = {self._tp(p): begin for p, (begin, _) in self._selection.spans.items()}
        ranges = {
            tp: (begin, cursor.next_offsets[tp]) for tp, begin in begins.items() if begin < cursor.next_offsets[tp]
        }
        for batch in read_range(self._broker, ranges):
            self._mark_settled([record for record in batch if self._is_selected(record)])

    def _mark_settled(self, records: Sequence[Record]) -> None:
        places = [DeadLetterPlace(record.partition, record.offset) for record in records]
        operation = self._operation
        with self._link.use() as connection:
            dead_letters_table.settle(
                connection, operation.service, places, "redriven", operation.id, operation.requested_by
            )


def redrive_starter(conninfo: str, connect: Callable[[], Broker], metrics: Metrics) -> StartWorker:
    """Starts redrives (jobs/workers.py), each in its own thread, because copying records costs little CPU."""

    def start(operation: Operation, worker: str, _place: int) -> JobThread:
        @contextmanager
        def open_loop() -> Iterator[JobLoop]:
            link = ReconnectingConnection(conninfo, f"redrive {operation.id}", autocommit=True)
            try:
                with closing(connect()) as broker:
                    lease = JobLease(conninfo, operation.id, worker)
                    yield JobLoop(broker, lease, RedriveRun(operation, broker, link, metrics).job())
            finally:
                link.drop()

        return start_job_thread(open_loop, f"redrive {operation.id}")

    return start
