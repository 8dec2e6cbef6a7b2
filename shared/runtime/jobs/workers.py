"""Claims the jobs of a service that wait for a worker, and starts and supervises their workers, beside the loop.

The worker of a replay is a process (process.py), that of a redrive a thread (thread.py). The lease is renewed here
while the worker runs, however long its units take. A worker that loses the lease is fenced by the next worker's
producer, and ends.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import psycopg
import structlog

from shared.backoff import Backoff
from shared.database.connection import ReconnectingConnection
from shared.errors import TransientError
from shared.logs import mask_text
from shared.ops.operations import Operation
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables.operations import CHANNEL, get
from shared.runtime.exit_codes import MISCONFIGURED

# The maximum number of concurrent jobs of each kind in one replica: most machines can spare two CPUs.
MAX_JOBS_PER_KIND = 2
CHECK_INTERVAL_S = 1.0
_WAIT_S = 0.25
# The limit for stopping the workers; the service has 6 s in all (run.GRACE_S).
STOP_S = 4.0
# A job fails after this many crashes of its workers in a row without progress.
MAX_CRASHES = 5
FIRST_RESTART_DELAY_S = 0.5

log = structlog.get_logger(__name__)


class Worker(Protocol):
    """The worker of a job: a process or a thread."""

    def status(self) -> int | None:
        """The exit code: None while it runs, 0 after a normal end, whatever the job's outcome."""
        ...

    def stop(self) -> None: ...

    def wait(self, timeout_s: float) -> None: ...

    def last_error(self) -> str: ...


StartWorker = Callable[[Operation, str, int], Worker]
"""Starts a worker. Parameters: the job's operation, the worker's name, and its index among the concurrent workers of
the same kind, from 0 to MAX_JOBS_PER_KIND - 1."""


@dataclass
class _ClaimedJob:
    """A job that this replica has claimed."""

    operation: Operation
    worker_name: str
    index: int
    handle: Worker | None = None
    start_at: float = 0.0
    crashes: int = 0
    counts_at_crash: object = None  # the job's counts at the last crash; different counts mean progress


class JobSupervisor:
    """`run` is a background task (exit_codes.Background)."""

    def __init__(
        self,
        service: str,
        replica: str,
        conninfo: str,
        starters: Mapping[str, StartWorker],
        report_progress: Callable[[str, float], None] = lambda _kind, _progress: None,
        first_restart_delay_s: float = FIRST_RESTART_DELAY_S,
    ) -> None:
        """`report_progress` is called with the kind and the progress (0 to 1) of each claimed job.
        `first_restart_delay_s`: the delay before a crashed worker is replaced; it doubles each time."""
        self._service = service
        self._report_progress = report_progress
        self._replica = replica
        self._starters = starters
        self._restart_backoff = Backoff(first_restart_delay_s)
        # By the worker's name: a job may be claimed again before its previous worker has ended.
        self._claimed_jobs: dict[str, _ClaimedJob] = {}
        self._link = ReconnectingConnection(conninfo, f"{service}, jobs", autocommit=True)

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                try:
                    self._check_jobs(stop)
                except (TransientError, psycopg.Error) as error:
                    log.warning("job_check_failed", cause=str(error).strip())
                    stop.wait(CHECK_INTERVAL_S)
        finally:
            self._stop_all()
            self._link.drop()

    def _check_jobs(self, stop: threading.Event) -> None:
        with self._link.use() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            for held in list(self._claimed_jobs.values()):
                self._check_job(connection, held)
            self._claim(connection)
            until = time.monotonic() + CHECK_INTERVAL_S
            while not stop.is_set() and time.monotonic() < until:
                if any(True for _ in connection.notifies(timeout=_WAIT_S, stop_after=1)) or self._any_worker_ended():
                    return

    def _claim(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        for kind in self._starters:
            while free := self._free_indexes(kind):
                worker = f"{self._replica}/{secrets.token_hex(4)}"
                operation = jobs_table.claim(connection, self._service, worker, [kind])
                if operation is None:
                    break
                log.info("job_claimed", operation=operation.id, kind=kind)
                self._claimed_jobs[worker] = _ClaimedJob(operation, worker, free[0])
                self._check_job(connection, self._claimed_jobs[worker])

    def _free_indexes(self, kind: str) -> list[int]:
        used = {held.index for held in self._claimed_jobs.values() if held.operation.kind == kind}
        return sorted(set(range(MAX_JOBS_PER_KIND)) - used)

    def _check_job(self, connection: psycopg.Connection[tuple[object, ...]], held: _ClaimedJob) -> None:
        """Renew the job's lease, start its worker if it has none, and handle the end of its worker."""
        operation = held.operation
        is_held = jobs_table.renew(connection, operation.id, held.worker_name)
        if (current := get(connection, operation.id)) is not None:
            self._report_progress(operation.kind, current.progress)
        status = None if held.handle is None else held.handle.status()
        if not is_held:
            self._stop_worker(held)
        elif held.handle is None:
            if time.monotonic() >= held.start_at:
                held.handle = self._starters[operation.kind](operation, held.worker_name, held.index)
        elif status is not None:
            self._handle_worker_end(connection, held, status)

    def _handle_worker_end(
        self, connection: psycopg.Connection[tuple[object, ...]], held: _ClaimedJob, status: int
    ) -> None:
        """Handle a worker that ended without releasing its job: fail the job, or schedule another worker."""
        assert held.handle is not None  # noqa: S101  # it has ended
        held.handle.wait(0)
        error, held.handle = held.handle.last_error(), None
        current = get(connection, held.operation.id)
        counts = None if current is None else current.counts
        held.crashes = held.crashes + 1 if counts == held.counts_at_crash else 1
        held.counts_at_crash = counts
        if status == MISCONFIGURED or held.crashes >= MAX_CRASHES:
            tried = f"the job's workers ended {held.crashes} times without progress, most recently with {status}: "
            cause = ("" if status == MISCONFIGURED else tried) + mask_text(error)
            jobs_table.finish(connection, held.operation.id, held.worker_name, "failed", None, cause)
            del self._claimed_jobs[held.worker_name]
            return
        held.start_at = time.monotonic() + self._restart_backoff.delay_s(held.crashes)
        log.warning("job_worker_ended", operation=held.operation.id, status=status)

    def _stop_worker(self, held: _ClaimedJob) -> None:
        """Stop the worker of a job that is over, released, or held by another replica."""
        if held.handle is not None:
            if held.handle.status() is None:
                held.handle.stop()
                return  # checked again until it has ended
            held.handle.wait(0)
        del self._claimed_jobs[held.worker_name]

    def _any_worker_ended(self) -> bool:
        return any(held.handle is not None and held.handle.status() is not None for held in self._claimed_jobs.values())

    def _stop_all(self) -> None:
        """Stop all workers; each releases its job after the open unit. Make the other jobs free to be claimed."""
        processes = [held.handle for held in self._claimed_jobs.values() if held.handle is not None]
        for process in processes:
            process.stop()
        until = time.monotonic() + STOP_S
        for process in processes:
            process.wait(max(0.0, until - time.monotonic()))
        try:
            with self._link.use() as connection:
                for held in self._claimed_jobs.values():
                    jobs_table.expire_lease(connection, held.operation.id, held.worker_name)
        except (TransientError, psycopg.Error) as error:
            log.warning("job_release_failed", cause=str(error).strip())
