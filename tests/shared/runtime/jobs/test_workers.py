"""A replica and the jobs of its service: it claims them in order, supervises workers, and hands jobs over."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from shared.ops.operations import Operation
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables import operations as operations_table
from shared.runtime.exit_codes import MISCONFIGURED
from shared.runtime.jobs.process import JobProcess
from shared.runtime.jobs.thread import JobThread
from shared.runtime.jobs.workers import MAX_CRASHES, MAX_JOBS_PER_KIND, JobSupervisor, Worker
from tests.waiting import DEADLINE_S, wait_until

Database = psycopg.Connection[Any]
KIND = "replay"


class WorkerStarter:
    """Starts workers that run `behave`, and records them."""

    def __init__(self, behave: Callable[[Operation, str, threading.Event], int]) -> None:
        self._behave = behave
        self.started: list[tuple[str, str, int]] = []
        self.stops: dict[str, threading.Event] = {}

    def start(self, operation: Operation, worker: str, index: int) -> Worker:
        stop = self.stops[worker] = threading.Event()
        self.started.append((operation.id, worker, index))
        return StubWorker(lambda: self._behave(operation, worker, stop), stop)

    @property
    def ids(self) -> list[str]:
        return [operation_id for operation_id, _, _ in self.started]


class StubWorker(JobThread):
    """A thread whose exit code is what it returns."""

    def __init__(self, work: Callable[[], int], stop: threading.Event) -> None:
        self._code = 0
        self._work = work
        super().__init__(self._run_work, stop.set, "worker")

    def _run_work(self) -> None:
        self._code = self._work()

    def status(self) -> int | None:
        return None if super().status() is None else self._code

    def last_error(self) -> str:
        return "no space left"


def create_jobs(database: Database, count: int = 1) -> list[str]:
    return [operations_table.create(database, "cleaner", KIND, {}, "test", "").id for _ in range(count)]


def row(database: Database, operation_id: str) -> Operation:
    operation = operations_table.get(database, operation_id)
    assert operation is not None
    return operation


@contextmanager
def replica(url: str, starter: WorkerStarter, name: str = "host-0") -> Iterator[threading.Event]:
    stop = threading.Event()
    jobs = JobSupervisor("cleaner", name, url, {KIND: starter.start}, first_restart_delay_s=0.01)
    thread = threading.Thread(target=jobs.run, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


@pytest.fixture
def database_url(url: str) -> str:
    """An emptied database: to create a new one takes a second."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.operations")
    return url


@pytest.fixture
def finish_on_stop(database: Database) -> Callable[[Operation, str, threading.Event], int]:
    """Runs until it is stopped, then finishes the job as succeeded."""
    lock = threading.Lock()

    def behave(operation: Operation, worker: str, stop: threading.Event) -> int:
        stop.wait()
        with lock:
            jobs_table.finish(database, operation.id, worker, "succeeded")
        return 0

    return behave


def test_jobs_are_claimed_in_the_order_of_their_creation_and_two_run_at_once(
    database_url: str, database: Database, finish_on_stop: Any
) -> None:
    ids, starter = create_jobs(database, MAX_JOBS_PER_KIND + 2), WorkerStarter(finish_on_stop)
    with replica(database_url, starter):
        wait_until(lambda: len(starter.started) == MAX_JOBS_PER_KIND)
        starter.stops[starter.started[0][1]].set()
        wait_until(lambda: len(starter.started) == MAX_JOBS_PER_KIND + 1)

    assert starter.ids == ids[: MAX_JOBS_PER_KIND + 1]
    assert starter.started[-1][2] == starter.started[0][2]  # the index that became free
    assert len({index for _, _, index in starter.started[:MAX_JOBS_PER_KIND]}) == MAX_JOBS_PER_KIND


def test_a_lease_is_renewed_for_as_long_as_its_worker_lives(
    database_url: str, database: Database, finish_on_stop: Any
) -> None:
    (operation_id,), starter = create_jobs(database), WorkerStarter(finish_on_stop)
    with replica(database_url, starter):
        wait_until(lambda: starter.started)
        lease = "SELECT lease_until FROM ops.operations"
        first = database.execute(lease).fetchone()
        wait_until(lambda: database.execute(lease).fetchone() != first)
        assert jobs_table.claim(database, "cleaner", "other", [KIND]) is None
    assert row(database, operation_id).state == "succeeded"


def test_a_crashed_worker_is_replaced_under_the_same_claim(database_url: str, database: Database) -> None:
    def behave(operation: Operation, worker: str, _stop: threading.Event) -> int:
        if len(starter.started) < 3:
            return -9
        jobs_table.finish(database, operation.id, worker, "succeeded")
        return 0

    (operation_id,), starter = create_jobs(database), WorkerStarter(behave)
    with replica(database_url, starter):
        wait_until(lambda: row(database, operation_id).state == "succeeded")

    assert len(starter.started) == 3
    assert len({worker for _, worker, _ in starter.started}) == 1


def test_a_job_whose_workers_only_crash_fails_with_their_last_error(database_url: str, database: Database) -> None:
    (operation_id,), starter = create_jobs(database), WorkerStarter(lambda *_: 1)
    with replica(database_url, starter):
        wait_until(lambda: row(database, operation_id).state == "failed")

    assert len(starter.started) == MAX_CRASHES
    assert "no space left" in str(row(database, operation_id).error)


def test_crashes_with_progress_in_between_do_not_add_up(database_url: str, database: Database) -> None:
    lock = threading.Lock()

    def behave(operation: Operation, worker: str, _stop: threading.Event) -> int:
        with lock:
            if len(starter.started) > MAX_CRASHES + 1:
                jobs_table.finish(database, operation.id, worker, "succeeded")
                return 0
            jobs_table.report_progress(database, operation.id, worker, {"read": len(starter.started)}, 0.5)
        return 1

    (operation_id,), starter = create_jobs(database), WorkerStarter(behave)
    with replica(database_url, starter):
        wait_until(lambda: not row(database, operation_id).is_open)

    assert row(database, operation_id).state == "succeeded"


def test_a_misconfigured_worker_is_not_restarted(database_url: str, database: Database) -> None:
    (operation_id,), starter = create_jobs(database), WorkerStarter(lambda *_: MISCONFIGURED)
    with replica(database_url, starter):
        wait_until(lambda: row(database, operation_id).state == "failed")

    assert len(starter.started) == 1


def test_the_jobs_of_a_stopped_replica_can_be_claimed_at_once(database_url: str, database: Database) -> None:
    def ignore_the_job(_operation: Operation, _worker: str, stop: threading.Event) -> int:
        stop.wait()  # ends without releasing the job
        return 1

    (operation_id,), starter = create_jobs(database), WorkerStarter(ignore_the_job)
    with replica(database_url, starter):
        wait_until(lambda: starter.started)

    claimed = jobs_table.claim(database, "cleaner", "other", [KIND])
    assert claimed is not None
    assert claimed.id == operation_id


def test_a_worker_that_lost_its_job_is_stopped(database_url: str, database: Database, finish_on_stop: Any) -> None:
    (operation_id,), starter = create_jobs(database), WorkerStarter(finish_on_stop)
    with replica(database_url, starter):
        wait_until(lambda: starter.started)
        # Of another service, so that this replica cannot claim it again.
        database.execute("UPDATE ops.operations SET worker = 'other', service = 'loader'")
        wait_until(starter.stops[starter.started[0][1]].is_set)

    assert row(database, operation_id).worker == "other"


def test_the_last_line_of_stderr_is_the_last_error(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys; print('one', file=sys.stderr); print('no space left', file=sys.stderr); sys.exit(7)"
    process = JobProcess([sys.executable, "-c", program], {})
    process.wait(DEADLINE_S)

    assert (process.status(), process.last_error()) == (7, "no space left")
    assert capfd.readouterr().err == "one\nno space left\n"


def test_a_process_that_does_not_end_in_time_is_killed() -> None:
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    process = JobProcess([sys.executable, "-c", program], {})
    process.stop()
    process.wait(0.2)

    assert process.status() is not None
