"""The loop of a job: given spans of a topic once through, beside the live loop, in units of records and cursor.

The cursor lies in a compacted topic and moves in the unit of what it counts, so a worker that dies at any moment is
replaced exactly where its last unit ended. A worker first makes the job's producer, which fences the worker before,
and reads the cursor after that. Live positions do not move: nothing is read as a group.
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

# How often progress is reported; what is wanted of the job is read before every unit.
REPORT_S = 0.5
_SLEEP_S = 0.05


class Outcome(Enum):
    """What came of a step. STOPPED: the job was paused, cancelled, or left to another worker. LOST: another worker has
    it, or it is over."""

    OPEN = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    STOPPED = auto()
    LOST = auto()


class JobLoop:
    """Drives one job to its end, or until something else is wanted of it. For one thread; `stop` from any."""

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
        """Until it is over for this worker. Errors that may pass are waited out."""
        try:
            while self._turn() is Outcome.OPEN:
                pass
        finally:
            self._close_session()
            self._caller.close()
            self._claimed.close()

    def step(self) -> Outcome:
        """One unit, if it is wanted and there is room for it. Begins with the session where none is open."""
        session = self._session
        if session is None or not session.is_open:
            return self._start()
        wanted = self._wanted(session)
        if wanted is None:
            return self._lost()
        if self._stopping or wanted != "run":  # asked before every unit: after a pause or a cancel, nothing happens
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
        self._log.info("done", **session.cursor.counts)
        return Outcome.SUCCEEDED

    def _turn(self) -> Outcome:
        """A step. An error that no waiting mends is the end of the job."""
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
        if self._stopping:  # nothing was fenced yet: left as it is, until the lease ends
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
        self._log.error("failed", cause=cause)
        self._claimed.end("failed", (self._session and self._session.cursor.counts) or None, cause)
        return Outcome.FAILED

    def _lost(self) -> Outcome:
        self._log.info("this job is worked on elsewhere, or over")
        return Outcome.LOST

    def _wait_out(self, error: TransientError | BrokerError) -> None:
        self._failures += 1
        delay_s = LOOP_BACKOFF.delay_s(self._failures)
        with suppress(TransientError):
            self._claimed.tell(None, None, None, str(error))
        self._log.warning(
            "waiting, then on from the cursor", error=type(error).__name__, cause=str(error), delay_s=round(delay_s, 2)
        )
        self._rest(delay_s)

    def _close_session(self) -> None:
        """Keeps the session's counts, for a job that fails before it has another one."""
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
        f"ended before it filled the dead letters with records of {tripped.tp.topic}/{tripped.tp.partition}: too many"
        f" failed close together, the last of {type(cause).__name__}: {cause}. What is done stays done; mend what is"
        " wrong and replay again"
    )
