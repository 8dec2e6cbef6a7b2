"""Jobs beside the loop: each replica claims those of its service that wait for a worker, and sees to their workers.

A replay's worker is a process (process.py), a redrive's a thread (thread.py). The lease is renewed here for as long as
the worker lives, however long one of its units takes; a worker that loses it is fenced by the next one's producer, and
ends.
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

# Of each kind, at once, in one replica: two processors are what most machines can spare.
MOST = 2
LOOK_S = 1.0
_WAIT_S = 0.25
# A service has 6 s to stop in all (run.GRACE_S).
STOP_S = 4.0
# Deaths of a job's workers in a row, without any progress between them.
MOST_DEATHS = 5
FIRST_PAUSE_S = 0.5

log = structlog.get_logger(__name__)


class Worker(Protocol):
    """Whoever works on a job: a process or a thread."""

    def status(self) -> int | None:
        """None while it works; 0 once it has ended as it should, whatever became of the job."""
        ...

    def stop(self) -> None: ...

    def wait(self, timeout_s: float) -> None: ...

    def last_words(self) -> str: ...


Start = Callable[[Operation, str, int], Worker]
"""Starts a worker for a job under this name, in this place (from 0 to MOST - 1, none of them taken twice)."""


@dataclass
class _Held:
    """A job that this replica holds."""

    operation: Operation
    worker: str
    place: int
    process: Worker | None = None
    start_at: float = 0.0
    deaths: int = 0
    done: object = None  # the counts when its worker last died: others mean progress


class Jobs:
    """Background work (shared/runtime/process/run.py): `run` belongs to one thread."""

    def __init__(
        self,
        service: str,
        replica: str,
        conninfo: str,
        starts: Mapping[str, Start],
        show: Callable[[str, float], None] = lambda _kind, _progress: None,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """`show` is told how far a job is that this replica holds, by its kind. `first_pause_s`: before a worker that
        died gets a successor; longer each time."""
        self._service = service
        self._show = show
        self._replica = replica
        self._starts = starts
        self._pause = Backoff(first_pause_s)
        # By the worker's name: a job may be claimed again while its former worker has not ended yet.
        self._held: dict[str, _Held] = {}
        self._link = Link(conninfo, f"{service}, jobs", autocommit=True)

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                try:
                    self._look(stop)
                except (TransientError, psycopg.Error) as error:
                    log.warning("jobs cannot be looked after; trying again", cause=str(error).strip())
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
                log.info("took a job", operation=operation.id, kind=kind)
                self._held[worker] = _Held(operation, worker, free[0])
                self._tend(connection, self._held[worker])

    def _free_places(self, kind: str) -> list[int]:
        taken = {held.place for held in self._held.values() if held.operation.kind == kind}
        return sorted(set(range(MOST)) - taken)

    def _tend(self, connection: psycopg.Connection[tuple[object, ...]], held: _Held) -> None:
        """Start its worker, renew its lease, look what became of it."""
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
        """Its worker is gone, and the job is still ours: it died, or was stopped before it could lay it down."""
        assert held.process is not None  # noqa: S101  # it has ended
        held.process.wait(0)
        words, held.process = held.process.last_words(), None
        found = get(connection, held.operation.id)
        done = None if found is None else found.counts
        held.deaths = held.deaths + 1 if done == held.done else 1
        held.done = done
        if status == MISCONFIGURED or held.deaths >= MOST_DEATHS:
            tried = f"its workers ended {held.deaths} times without getting on, at last with {status}: "
            cause = ("" if status == MISCONFIGURED else tried) + mask_text(words)
            jobs_table.end(connection, held.operation.id, held.worker, "failed", None, cause)
            del self._held[held.worker]
            return
        held.start_at = time.monotonic() + self._pause.delay_s(held.deaths)
        log.warning("the worker of a job ended; another one takes it up", operation=held.operation.id, status=status)

    def _drop(self, held: _Held) -> None:
        """The job is over, laid down or somebody else's: so should be its worker's part."""
        if held.process is not None:
            if held.process.status() is None:
                held.process.stop()
                return  # looked at again, until it has ended
            held.process.wait(0)
        del self._held[held.worker]

    def _something_ended(self) -> bool:
        return any(held.process is not None and held.process.status() is not None for held in self._held.values())

    def _leave(self) -> None:
        """Every worker lays its job down after its unit; what one leaves open goes to whoever claims it next."""
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
            log.warning("jobs could not be handed over; their leases end by themselves", cause=str(error).strip())
