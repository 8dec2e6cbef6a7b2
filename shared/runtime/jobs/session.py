"""Holds what a worker has open while it runs a job: producer, cursor, reader, and the records that were read ahead."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, closing

from shared.broker.contract import Broker, Record, TopicPartition, Unit
from shared.runtime.jobs.cursor import JobCursor, cursor_of
from shared.runtime.jobs.job import Job, Transform
from shared.topics import JOB_CURSORS

POLL_S = 0.2
READ_RECORDS = 2000
# Records that are not selected need no unit. The cursor is still saved at this interval, so that the successor of a
# crashed worker does not read all of them again.
SAVE_S = 5.0


class JobSession:
    """Continues from the committed cursor. After a failed unit, close it and create another."""

    def __init__(self, broker: Broker, job: Job) -> None:
        """Creates the producer first: this ends the previous worker's open unit, so the cursor read next is final."""
        self._job = job
        self._pending: deque[Record] = deque()
        with ExitStack() as stack:
            self._producer = stack.enter_context(closing(broker.producer(f"job-{job.id}", in_database=job.in_database)))
            committed = broker.cursors(JOB_CURSORS, in_database=job.in_database).get(job.id)
            self.cursor = cursor_of(committed, job.spans)
            self._reader = stack.enter_context(
                closing(job.open_reader(broker, job.spans, self.cursor.remaining(job.spans)))
            )
            self._stack = stack.pop_all()
        self.is_open = True
        self._started_at_s = self._saved_at_s = time.monotonic()
        self._progress_at_start = self.progress

    @property
    def progress(self) -> float:
        return self.cursor.progress(self._job.spans)

    @property
    def remaining_s(self) -> float | None:
        """The estimated time until the end, in seconds, at the speed so far; None if nothing was done yet."""
        done = self.progress - self._progress_at_start
        return None if done <= 0 else (time.monotonic() - self._started_at_s) * (1 - self.progress) / done

    @property
    def is_done(self) -> bool:
        return not self._pending and not self._reader.unfinished

    def read(self, max_records: int) -> bool:
        """Poll once if fewer than `max_records` records are pending; returns whether it returned any.

        A poll of a live topic returns few records. Several polls are collected for one unit, because each unit has a
        fixed cost.
        """
        if len(self._pending) >= max_records or not self._reader.unfinished:
            return False
        records = self._reader.poll(POLL_S, READ_RECORDS)
        self._pending.extend(records)
        return bool(records)

    def work(self, max_records: int, transform: Transform) -> Sequence[Record]:
        """Commit one unit of at most `max_records` selected records and the cursor after them; returns the records.
        Without selected records the cursor alone is saved, every SAVE_S."""
        cursor, selected = self._next_batch(max_records)
        if selected:
            with self._unit() as unit:
                cursor.add({"selected": len(selected)})
                cursor.add(transform(selected, unit))
                self._commit(unit, cursor)
        else:
            self.cursor = cursor
            if time.monotonic() - self._saved_at_s > SAVE_S:
                self.save()
        return selected

    def save(self) -> None:
        """Commit a unit of the cursor alone."""
        with self._unit() as unit:
            self._commit(unit, self.cursor)

    def close(self) -> None:
        self.is_open = False
        self._stack.close()

    def _next_batch(self, max_records: int) -> tuple[JobCursor, list[Record]]:
        """The next selected records, and the cursor after them and the records skipped between them."""
        cursor, selected, pending_before = self.cursor.copy(), list[Record](), len(self._pending)
        while self._pending and len(selected) < max_records:
            record = self._pending.popleft()
            cursor.next_offsets[TopicPartition(record.topic, record.partition)] = record.offset + 1
            if self._job.is_selected(record):
                selected.append(record)
        cursor.add({"read": pending_before - len(self._pending)})
        if not self._pending:
            cursor.next_offsets |= self._reader.read_to
        return cursor, selected

    def _unit(self) -> Unit:
        return self._producer.db_unit() if self._job.in_database else self._producer.unit()

    def _commit(self, unit: Unit, cursor: JobCursor) -> None:
        unit.cursor_set(JOB_CURSORS, self._job.id, cursor.encode())
        unit.commit()
        self.cursor = cursor
        self._saved_at_s = time.monotonic()
