"""Runs the loop of a job: processes given spans of a topic once, beside the live loop, in units of records and cursor.

The cursor is stored in a compacted topic and moves in the same unit as the records that it counts, so the successor of
a crashed worker continues exactly after the last unit. A worker first creates the job's producer, which fences the
previous worker, then reads the cursor. Live positions do not move, because nothing is read as a group.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto

import structlog

from shared.broker.contract import Broker, Damaged, Record, Unit
from shared.broker.counting.read_range import RecordsRemoved
from shared.errors import BrokerError, ConfigError, TransientError
from shared.ops.operations import Wanted
from shared.runtime.dead_letters.breaker import Tripped
from shared.runtime.jobs.job import Job
from shared.runtime.jobs.job_lease import JobLease
from shared.runtime.jobs.pace import Throttle
from shared.runtime.jobs.session import JobSession
from shared.runtime.loops.backoff import LOOP_BACKOFF
from shared.runtime.loops.trouble import needs_smaller_batch
from shared.runtime.loops.worker_thread import MAX_CALL_S, caller

# The interval of progress reports. The requested state of the job is read before every unit.
REPORT_S = 0.5
_SLEEP_S = 0.05


class StepOutcome(Enum):
    """The result of a step. STOPPED: the job was paused, cancelled, or released for another worker. LOST: another
    worker has the job, or it is over."""

    OPEN = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    STOPPED = auto()
    LOST = auto()


class JobLoop:
    """Runs one job until it ends, is paused, cancelled or lost. Used by one thread; any thread may call `stop`."""

    def __init__(self, broker: Broker, lease: JobLease, job: Job) -> None:
        self.ticked_at = time.monotonic()
        self._broker = broker
        self._lease = lease
        self._job = job
        self._throttle = Throttle(broker, job)
        self._caller = caller(f"job {job.id}", slow=job.slow)
        self._session: JobSession | None = None
        self._failures = 0
        self._reported_at_s = 0.0
        self._stopping = False
        self._log = structlog.get_logger().bind(operation=job.id)

    def stop(self) -> None:
        """Finish the open unit and release the job, so that another worker can continue it."""
        self._stopping = True

    def run(self) -> None:
        """Run until the job is over for this worker. Backs off after transient errors."""
        try:
            while self._run_step() is StepOutcome.OPEN:
                pass
        finally:
            self._close_session()
            self._caller.close()
            self._lease.close()

    def step(self) -> StepOutcome:
        """Open the session if there is none; otherwise process one unit, if the job is to run and there is capacity."""
        session = self._session
        if session is None or not session.is_open:
            return self._start()
        requested_state = self._requested_state(session)
        if requested_state is None:
            return self._lost()
        if self._stopping or requested_state != "run":  # read before every unit: no unit follows a pause or a cancel
            session.save()
            self._lease.release(session.cursor.counts)
            return StepOutcome.STOPPED
        if (wait_s := self._throttle.wait_s(time.monotonic())) > 0:
            self._sleep(wait_s)
            return StepOutcome.OPEN
        while session.read(self._throttle.read_records):
            self._tick()
        if selected := session.work(self._throttle.unit_records, self._transform):
            self._throttle.record(len(selected), time.monotonic())
            self._job.on_commit(session.cursor, selected)
        self._failures = 0
        if not session.is_done:
            return StepOutcome.OPEN
        self._lease.end("succeeded", session.cursor.counts)
        self._log.info("job_succeeded", **session.cursor.counts)
        return StepOutcome.SUCCEEDED

    def _run_step(self) -> StepOutcome:
        """One step, with error handling: a transient error backs off, any other known error fails the job."""
        self._tick()
        try:
            try:
                return self.step()
            except (RecordsRemoved, Damaged, ConfigError) as error:
                return self._fail(str(error))
            except Tripped as tripped:
                return self._fail(_cause_of(tripped))
        except (TransientError, BrokerError) as error:
            if needs_smaller_batch(error):
                self._throttle.shrink()
            self._close_session()
            self._back_off(error)
            return StepOutcome.OPEN

    def _start(self) -> StepOutcome:
        if self._stopping:  # no producer was created, so the job is not released: its lease expires
            return StepOutcome.STOPPED
        if self._lease.read_requested_state() is None:
            return self._lost()
        self._session = JobSession(self._broker, self._job)
        self._job.on_commit(self._session.cursor, ())
        return StepOutcome.OPEN

    def _requested_state(self, session: JobSession) -> Wanted | None:
        now_s = time.monotonic()
        if now_s - self._reported_at_s < REPORT_S:
            return self._lease.read_requested_state()
        requested_state = self._lease.report_progress(
            session.cursor.counts, session.progress, session.remaining_s, self._throttle.waiting_for
        )
        self._reported_at_s = now_s
        return requested_state

    def _transform(self, selected: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        return self._caller.call(lambda: self._job.transform(selected, unit), self._tick_while)

    def _tick_while(self, took_s: float) -> None:
        if took_s < MAX_CALL_S:
            self._tick()

    def _fail(self, cause: str) -> StepOutcome:
        self._log.error("job_failed", cause=cause)
        self._lease.end("failed", (self._session and self._session.cursor.counts) or None, cause)
        return StepOutcome.FAILED

    def _lost(self) -> StepOutcome:
        self._log.info("job_lost")
        return StepOutcome.LOST

    def _back_off(self, error: TransientError | BrokerError) -> None:
        self._failures += 1
        delay_s = LOOP_BACKOFF.delay_s(self._failures)
        with suppress(TransientError):
            self._lease.report_progress(None, None, None, str(error))
        self._log.warning("job_step_failed", error=type(error).__name__, cause=str(error), delay_s=round(delay_s, 2))
        self._sleep(delay_s)

    def _close_session(self) -> None:
        """Close the session but keep its cursor, whose counts are reported if the job fails before a new session."""
        if self._session is not None:
            self._session.close()

    def _sleep(self, for_s: float) -> None:
        until = time.monotonic() + for_s
        while not self._stopping and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, _SLEEP_S))
        self._tick()

    def _tick(self) -> None:
        self.ticked_at = time.monotonic()


def _cause_of(tripped: Tripped) -> str:
    cause = tripped.__cause__
    return (
        f"stopped because too many records of {tripped.tp.topic}/{tripped.tp.partition} failed close together, the last"
        f" one with {type(cause).__name__}: {cause}. Committed units are kept; fix the cause, then start a new replay"
    )
