"""A redrive: dead letters of a service back to its retry topic, as a job (shared/runtime/jobs/loop.py).

Records and cursor are one unit, so each letter is sent back once, whatever is killed. That it is settled is noted in
the database after the unit; a worker that starts looks through what was passed before it and notes what is missing.
What a redrive may take is settled when it is asked for: none overlaps another that is open, and nobody discards what
an open one may take (shared/runtime/dead_letters/settlement.py).
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

# Small enough that the live loop, which reads the retry topic too, is not kept from its other records.
UNIT_RECORDS = 100


class Redriving:
    """One redrive. For one thread."""

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
        """Settled, once their unit is committed; without records: all that former workers have sent back."""
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
    """Starts redrives (shared/runtime/jobs/workers.py), each in a thread of its own: copying costs little."""

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
