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
from shared.database.connection import Link
from shared.errors import TransientError
from shared.logs import mask_text
from shared.ops.operations import Operation
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables.operations import CHANNEL, get
from shared.runtime.exit_codes import MISCONFIGURED

# The maximum number of concurrent jobs of each kind in one replica: most machines can spare two CPUs.
MOST = 2
LOOK_S = 1.0
_WAIT_S = 0.25
# The limit for stopping the workers; the service has 6 s in all (run.GRACE_S).
STOP_S = 4.0
# A job fails after this many crashes of its workers in a row without progress.
MOST_DEATHS = 5
FIRST_PAUSE_S = 0.5

log = structlog.get_logger(__name__)


class Worker(Protocol):
    """The worker of a job: a process or a thread."""

    def status(self) -> int | None:
        """The exit code: None while it runs, 0 after a normal end, whatever the job's outcome."""
        ...

    def stop(self) -> None: ...

    def wait(self, timeout_s: float) -> None: ...

    def last_words(self) -> str: ...


Start = Callable[[Operation, str, int], Worker]
"""Starts a worker. Parameters: the job's operation, the worker's name, and its index among the concurrent workers of
the same kind, from 0 to MAX_JOBS_PER_KIND - 1."""


@dataclass
class _Held:
    """A job that this replica has claimed."""

    operation: Operation
    worker: str
    place: int
    process: Worker | None = None
    start_at: float = 0.0
    deaths: int = 0
    done: object = None  # the job's counts at the last crash; different counts mean progress


class Jobs:
    """`run` is a background task (exit_codes.Background)."""

    def __init__(
        self,
        service: str,
        replica: str,
        conninfo: str,
        starts: Mapping[str, Start],
        show: Callable[[str, float], None] = lambda _kind, _progress: None,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """`report_progress` is called with the kind and the progress (0 to 1) of each claimed job.
        `first_restart_delay_s`: the delay before a crashed worker is replaced; it doubles each time."""
        self._service = service
        self._show = show
        self._replica = replica
        self._starts = starts
        self._pause = Backoff(first_pause_s)
        # By the worker's name: a job may be claimed again before its previous worker has ended.
        self._held: dict[str, _Held] = {}
        self._link = Link(conninfo, f"{service}, jobs", autocommit=True)

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                try:
                    self._look(stop)
                except (TransientError, psycopg.Error) as error:
                    log.warning("job_check_failed", cause=str(error).strip())
                    stop.wait(LOOK_S)
        finally:
            self._leave()
            self._link.drop()

    def _look(self, stop: threading.Event) -> None:
        with self._link.use() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            for held in list(self._held.values()):
                self._tend(connection, held)
            self._claim(connection)
            until = time.monotonic() + LOOK_S
            while not stop.is_set() and time.monotonic() < until:
                if any(True for _ in connection.notifies(timeout=_WAIT_S, stop_after=1)) or self._something_ended():
                    return

    def _claim(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        for kind in self._starts:
            while free := self._free_places(kind):
                worker = f"{self._replica}/{secrets.token_hex(4)}"
                operation = jobs_table.claim(connection, self._service, worker, [kind])
                if operation is None:
                    break
                log.info("job_claimed", operation=operation.id, kind=kind)
                self._held[worker] = _Held(operation, worker, free[0])
                self._tend(connection, self._held[worker])

    def _free_places(self, kind: str) -> list[int]:
        taken = {held.place for held in self._held.values() if held.operation.kind == kind}
        return sorted(set(range(MOST)) - taken)

    def _tend(self, connection: psycopg.Connection[tuple[object, ...]], held: _Held) -> None:
        """Renew the job's lease, start its worker if it has none, and handle the end of its worker."""
        operation = held.operation
        ours = jobs_table.renew(connection, operation.id, held.worker)
        if (found := get(connection, operation.id)) is not None:
            self._show(operation.kind, found.progress)
        status = None if held.process is None else held.process.status()
        if not ours:
            self._drop(held)
        elif held.process is None:
            if time.monotonic() >= held.start_at:
                held.process = self._starts[operation.kind](operation, held.worker, held.place)
        elif status is not None:
            self._ended(connection, held, status)

    def _ended(self, connection: psycopg.Connection[tuple[object, ...]], held: _Held, status: int) -> None:
        """Handle a worker that ended without releasing its job: fail the job, or schedule another worker."""
        assert held.process is not None  # noqa: S101  # it has ended
        held.process.wait(0)
        words, held.process = held.process.last_words(), None
        found = get(connection, held.operation.id)
        done = None if found is None else found.counts
        held.deaths = held.deaths + 1 if done == held.done else 1
        held.done = done
        if status == MISCONFIGURED or held.deaths >= MOST_DEATHS:
            tried = f"the job's workers ended {held.deaths} times without progress, most recently with {status}: "
            cause = ("" if status == MISCONFIGURED else tried) + mask_text(words)
            jobs_table.end(connection, held.operation.id, held.worker, "failed", None, cause)
            del self._held[held.worker]
            return
        held.start_at = time.monotonic() + self._pause.delay_s(held.deaths)
        log.warning("job_worker_ended", operation=held.operation.id, status=status)

    def _drop(self, held: _Held) -> None:
        """Stop the worker of a job that is over, released, or held by another replica."""
        if held.process is not None:
            if held.process.status() is None:
                held.process.stop()
                return  # checked again until it has ended
            held.process.wait(0)
        del self._held[held.worker]

    def _something_ended(self) -> bool:
        return any(held.process is not None and held.process.status() is not None for held in self._held.values())

    def _leave(self) -> None:
        """Stop all workers; each releases its job after the open unit. Make the other jobs free to be claimed."""
        processes = [held.process for held in self._held.values() if held.process is not None]
        for process in processes:
            process.stop()
        until = time.monotonic() + STOP_S
        for process in processes:
            process.wait(max(0.0, until - time.monotonic()))
        try:
            with self._link.use() as connection:
                for held in self._held.values():
                    jobs_table.let_go(connection, held.operation.id, held.worker)
        except (TransientError, psycopg.Error) as error:
            log.warning("job_release_failed", cause=str(error).strip())
