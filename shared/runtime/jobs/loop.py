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

from shared.broker.contract import Broker, Record, Unit
from shared.broker.counting.read_range import Cut
from shared.errors import BrokerError, ConfigError, TransientError
from shared.ops.operations import Wanted
from shared.runtime.dead_letters.breaker import Tripped
from shared.runtime.jobs.job import Job
from shared.runtime.jobs.job_lease import Claimed
from shared.runtime.jobs.pace import Throttle
from shared.runtime.jobs.session import JobSession
from shared.runtime.loops.backoff import LOOP_BACKOFF
from shared.runtime.loops.worker_thread import MAX_CALL_S, caller

# The interval of progress reports. The requested state of the job is read before every unit.
REPORT_S = 0.5
_SLEEP_S = 0.05


class Outcome(Enum):
    """The result of a step. STOPPED: the job was paused, cancelled, or released for another worker. LOST: another
    worker has the job, or it is over."""

    OPEN = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    STOPPED = auto()
    LOST = auto()


class JobLoop:
    """Runs one job until it ends, is paused, cancelled or lost. Used by one thread; any thread may call `stop`."""

    def __init__(self, broker: Broker, claimed: Claimed, job: Job) -> None:
        self.ticked_at = time.monotonic()
        self._broker = broker
        self._claimed = claimed
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
            while self._turn() is Outcome.OPEN:
                pass
        finally:
            self._close_session()
            self._caller.close()
            self._claimed.close()

    def step(self) -> Outcome:
        """Open the session if there is none; otherwise process one unit, if the job is to run and there is capacity."""
        session = self._session
        if session is None or not session.is_open:
            return self._start()
        wanted = self._wanted(session)
        if wanted is None:
            return self._lost()
        if self._stopping or wanted != "run":  # read before every unit: no unit follows a pause or a cancel
            session.save()
            self._claimed.lay_down(session.cursor.counts)
            return Outcome.STOPPED
        if (wait_s := self._throttle.wait_s(time.monotonic())) > 0:
            self._rest(wait_s)
            return Outcome.OPEN
        while session.read(self._throttle.read_records):
            self._tick()
        if selected := session.work(self._throttle.unit_records, self._transform):
            self._throttle.took(len(selected), time.monotonic())
            self._job.committed(session.cursor, selected)
        self._failures = 0
        if not session.is_done:
            return Outcome.OPEN
        self._claimed.end("succeeded", session.cursor.counts)
        self._log.info("job_succeeded", **session.cursor.counts)
        return Outcome.SUCCEEDED

    def _turn(self) -> Outcome:
        """One step, with error handling: a transient error backs off, any other known error fails the job."""
        self._tick()
        try:
            try:
                return self.step()
            except (Cut, ConfigError) as error:
                return self._fail(str(error))
            except Tripped as tripped:
                return self._fail(_cause_of(tripped))
        except (TransientError, BrokerError) as error:
            self._close_session()
            self._wait_out(error)
            return Outcome.OPEN

    def _start(self) -> Outcome:
        if self._stopping:  # no producer was created, so the job is not released: its lease expires
            return Outcome.STOPPED
        if self._claimed.wanted() is None:
            return self._lost()
        self._session = JobSession(self._broker, self._job)
        self._job.committed(self._session.cursor, ())
        return Outcome.OPEN

    def _wanted(self, session: JobSession) -> Wanted | None:
        now_s = time.monotonic()
        if now_s - self._reported_at_s < REPORT_S:
            return self._claimed.wanted()
        wanted = self._claimed.tell(session.cursor.counts, session.progress, session.left_s, self._throttle.waiting_for)
        self._reported_at_s = now_s
        return wanted

    def _transform(self, selected: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        return self._caller.call(lambda: self._job.transform(selected, unit), self._tick_while)

    def _tick_while(self, took_s: float) -> None:
        if took_s < MAX_CALL_S:
            self._tick()

    def _fail(self, cause: str) -> Outcome:
        self._log.error("job_failed", cause=cause)
        self._claimed.end("failed", (self._session and self._session.cursor.counts) or None, cause)
        return Outcome.FAILED

    def _lost(self) -> Outcome:
        self._log.info("job_lost")
        return Outcome.LOST

    def _wait_out(self, error: TransientError | BrokerError) -> None:
        self._failures += 1
        delay_s = LOOP_BACKOFF.delay_s(self._failures)
        with suppress(TransientError):
            self._claimed.tell(None, None, None, str(error))
        self._log.warning("job_step_failed", error=type(error).__name__, cause=str(error), delay_s=round(delay_s, 2))
        self._rest(delay_s)

    def _close_session(self) -> None:
        """Close the session but keep its cursor, whose counts are reported if the job fails before a new session."""
        if self._session is not None:
            self._session.close()

    def _rest(self, for_s: float) -> None:
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
