"""The loop of a job: given spans of a topic once through, beside the live loop, in units of records and cursor.

The cursor lies in a compacted topic and moves in the unit of what it counts, so a worker that dies at any moment is
taken up exactly where its last unit ended. Whoever works on a job first makes its producer, which fences the worker
before, and reads the cursor after that. Live positions are nobody's concern here: nothing is read as a group.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from shared.broker.contract import Broker, Producer, Record, TopicPartition, Unit
from shared.broker.counting.read_range import Cut
from shared.errors import BrokerError, ConfigError, HeadraceError, TransientError
from shared.runtime.dead_letters.breaker import Tripped
from shared.runtime.jobs.cursor import Cursor, Spans, cursor_of
from shared.runtime.jobs.job_lease import Claimed
from shared.runtime.jobs.pace import MOST_WAITING, Depth, Pressure, Quiet, Rate, Reading
from shared.runtime.jobs.span_reader import SpanReader, SpanReading
from shared.runtime.loops.backoff import LOOP_BACKOFF
from shared.runtime.loops.worker_thread import MAX_CALL_S, caller
from shared.topics import JOB_CURSORS

POLL_S = 0.2
READ_RECORDS = 2000
# How often it says how far it is; what is wanted of it is asked before every unit.
TELL_S = 0.5
# Records that are passed over need no unit; but a worker that dies should not have to read them all again.
KEEP_S = 5.0
_STEP_S = 0.05

Transform = Callable[[Sequence[Record], Unit], Mapping[str, int]]
"""Puts what comes of these records into the unit; returns what to add to the counts. May be called again on the same
records, after a unit that failed."""

Committed = Callable[[Cursor, Sequence[Record]], None]
"""Told of each unit that was committed, with its selected records; and without any, of the cursor that a worker starts
from: the one before may have died between a commit and this. Raises TransientError when it has to be told again."""


@dataclass(frozen=True)
class Job:
    """What is to be done: the records of `spans` that are `wanted`, by `transform`, in units of at most so many.

    `beside`: the stream in which all live work begins; where it is quiet, more is done at once. None: no such thing.
    `reading` gives the reader of the spans, from where they are not done yet: of a topic, unless it says otherwise.
    `slow`: the transform may take long, so it works in a thread of its own while the loop ticks on.
    """

    id: str
    spans: Spans
    wanted: Callable[[Record], bool]
    transform: Transform
    in_database: bool = False
    unit_records: int = 200
    rate: float | None = None
    committed: Committed = lambda _cursor, _records: None
    downstream: frozenset[Reading] = frozenset()
    beside: str | None = None
    reading: Callable[[Broker, Spans, Mapping[TopicPartition, int]], SpanReading] = SpanReader
    slow: bool = False


class Lost(HeadraceError):
    """The job is somebody else's now, or over."""


class JobLoop:
    """Drives one job to its end, or until something else is wanted of it. For one thread; `stop` from any."""

    def __init__(self, broker: Broker, claimed: Claimed, job: Job) -> None:
        self.ticked_at = time.monotonic()
        self._broker = broker
        self._claimed = claimed
        self._job = job
        self._caller = caller(f"job {job.id}", slow=job.slow)
        self._rate = Rate(job.rate)
        self._pressure = Pressure()
        self._quiet = Quiet()
        self._factor = 1
        self._backoff = LOOP_BACKOFF
        self._failures = 0
        self._producer: Producer | None = None
        self._reader: SpanReading | None = None
        self._cursor = Cursor({})
        self._pending: deque[Record] = deque()
        self._began = (time.monotonic(), 0.0)  # when this worker started, and at which progress
        self._told_at = self._kept_at = 0.0
        self._waiting_for: str | None = None
        self._stopping = self._over = False
        self._log = structlog.get_logger().bind(operation=job.id)

    def stop(self) -> None:
        """Finish the open unit and lay the job down, for anybody to go on with."""
        self._stopping = True

    def run(self) -> None:
        """Until it is done, failed, laid down, or somebody else's. Trouble that may pass is waited out."""
        try:
            while not self._over:
                self._tick()
                self._turn()
        finally:
            self._start_over()
            self._caller.close()
            self._claimed.close()

    def _turn(self) -> None:
        try:
            self._try()
        except Lost:
            self._log.info("this job is worked on elsewhere, or over")
            self._over = True
        except (TransientError, BrokerError) as error:
            self._start_over()
            self._wait_out(error)

    def _try(self) -> None:
        """A step, or what comes before the first one. What no waiting mends is the end of the job."""
        try:
            if self._reader is not None:
                self._step()
            elif self._stopping:  # nothing was fenced yet: left as it is, until the lease ends
                self._over = True
            else:
                self._take_up()
        except (Cut, ConfigError) as error:
            self._fail(str(error))
        except Tripped as tripped:
            self._fail(_of(tripped))

    def _take_up(self) -> None:
        """The producer comes first: making it settles what the worker before left, and the cursor after that."""
        if self._claimed.wanted() is None:
            raise Lost
        job = self._job
        self._producer = self._broker.producer(f"job-{job.id}", in_database=job.in_database)
        kept = self._broker.cursors(JOB_CURSORS, in_database=job.in_database).get(job.id)
        self._cursor = cursor_of(kept, job.spans)
        job.committed(self._cursor, ())
        self._reader = job.reading(self._broker, job.spans, self._cursor.left(job.spans))
        self._began = (time.monotonic(), self._cursor.progress(job.spans))
        self._kept_at = time.monotonic()

    def _start_over(self) -> None:
        self._pending.clear()
        if self._reader is not None:
            self._reader.close()
        if self._producer is not None:
            self._producer.close()
        self._reader = self._producer = None

    def _step(self) -> None:
        """Obey, wait for room, read, and one unit."""
        assert self._reader is not None  # noqa: S101  # taken up
        if self._obey() or self._waits():
            return
        self._read(self._reader)
        self._unit(self._reader)
        self._failures = 0
        if not self._pending and not self._reader.left:
            self._claimed.end("succeeded", self._cursor.counts)
            self._log.info("done", **self._cursor.counts)
            self._over = True

    def _read(self, reader: SpanReading) -> None:
        """As much as a unit may have, or is there: a live stream's batches are small, and units cost by the piece."""
        while len(self._pending) < self._job.unit_records * self._factor and reader.left:
            records = reader.poll(POLL_S, READ_RECORDS)
            self._pending.extend(records)
            self._tick()
            if not records:
                return

    def _obey(self) -> bool:
        """Whether this worker's part is over. Asked before every unit: after a pause or a cancel, nothing happens."""
        now = time.monotonic()
        if now - self._told_at >= TELL_S:
            progress = self._cursor.progress(self._job.spans)
            wanted = self._claimed.tell(self._cursor.counts, progress, self._left_s(progress), self._waiting_for)
            self._told_at = now
        else:
            wanted = self._claimed.wanted()
        if wanted is None:
            raise Lost
        if self._stopping or wanted != "run":
            self._keep()
            self._claimed.lay_down(self._cursor.counts)
            self._over = True
        return self._over

    def _waits(self) -> bool:
        """Whether it is too early for more: for its own rate, or because of those who work on what comes of it."""
        now = time.monotonic()
        if (wait_s := self._rate.wait_s(now)) > 0:
            self._waiting_for = None
            self._rest(min(wait_s, TELL_S))
            return True
        self._factor = self._quiet.factor(self._live_end(), now) if self._job.beside else 1
        full = self._pressure.holds_back(self._depths(), now, MOST_WAITING * self._factor)
        self._waiting_for = None if full is None else f"{full[0]}, which has {full[1]} to work off"
        if full is not None:
            self._rest(_STEP_S)
        return full is not None

    def _live_end(self) -> int:
        assert self._job.beside is not None  # noqa: S101  # asked for only then
        return sum(self._broker.end_offsets(self._broker.partitions(self._job.beside)).values())

    def _depths(self) -> dict[Reading, Depth]:
        depths = {}
        for group, topic in self._job.downstream:
            positions = self._broker.committed(group, [topic])
            ends = self._broker.end_offsets(list(positions))
            depths[group, topic] = Depth(sum(positions.values()), sum(ends.values()))
        return depths

    def _unit(self, reader: SpanReading) -> None:
        cursor, selected = self._next_batch(reader)
        if not selected:
            self._cursor = cursor
            if time.monotonic() - self._kept_at > KEEP_S:
                self._keep()
            return
        assert self._producer is not None  # noqa: S101  # taken up
        with self._producer.db_unit() if self._job.in_database else self._producer.unit() as unit:
            cursor.add({"selected": len(selected)})
            cursor.add(self._transform(selected, unit))
            self._commit(unit, cursor)
        self._rate.took(len(selected), time.monotonic())
        self._job.committed(cursor, selected)

    def _transform(self, selected: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        return self._caller.call(lambda: self._job.transform(selected, unit), self._tick_on)

    def _tick_on(self, took_s: float) -> None:
        if took_s < MAX_CALL_S:
            self._tick()

    def _next_batch(self, reader: SpanReading) -> tuple[Cursor, list[Record]]:
        """The next records that are wanted, and the cursor after them and what was passed over between them."""
        cursor, selected = self._cursor.copy(), list[Record]()
        most, before = self._rate.unit(self._job.unit_records * self._factor), len(self._pending)
        while self._pending and len(selected) < most:
            record = self._pending.popleft()
            cursor.next[TopicPartition(record.topic, record.partition)] = record.offset + 1
            if self._job.wanted(record):
                selected.append(record)
        cursor.add({"read": before - len(self._pending)})
        if not self._pending:
            cursor.next |= reader.read_to
        return cursor, selected

    def _keep(self) -> None:
        """The cursor alone, past records that were not wanted."""
        assert self._producer is not None  # noqa: S101  # taken up
        with self._producer.db_unit() if self._job.in_database else self._producer.unit() as unit:
            self._commit(unit, self._cursor)

    def _commit(self, unit: Unit, cursor: Cursor) -> None:
        unit.cursor_set(JOB_CURSORS, self._job.id, cursor.encoded())
        unit.commit()
        self._cursor = cursor
        self._kept_at = time.monotonic()

    def _fail(self, cause: str) -> None:
        self._log.error("failed", cause=cause)
        self._claimed.end("failed", self._cursor.counts or None, cause)
        self._over = True

    def _left_s(self, progress: float) -> float | None:
        began_at, before = self._began
        done = progress - before
        return None if done <= 0 else (time.monotonic() - began_at) * (1 - progress) / done

    def _wait_out(self, error: TransientError | BrokerError) -> None:
        self._failures += 1
        delay_s = self._backoff.delay_s(self._failures)
        with suppress(TransientError):
            self._claimed.tell(None, None, None, str(error))
        self._log.warning("waiting, then on from the cursor", error=type(error).__name__, cause=str(error),
                          delay_s=round(delay_s, 2))  # fmt: skip
        self._rest(delay_s)

    def _rest(self, for_s: float) -> None:
        until = time.monotonic() + for_s
        while not self._stopping and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, _STEP_S))
        self._tick()

    def _tick(self) -> None:
        self.ticked_at = time.monotonic()


def _of(tripped: Tripped) -> str:
    cause = tripped.__cause__
    return (
        f"ended before it filled the dead letters with records of {tripped.tp.topic}/{tripped.tp.partition}: too many"
        f" failed close together, the last of {type(cause).__name__}: {cause}. What is done stays done; mend what is"
        " wrong and replay again"
    )
