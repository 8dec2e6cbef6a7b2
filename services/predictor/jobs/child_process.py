"""Runs a job in a process of its own (worker_program.py), supervised by a thread of the replica that holds the job.

The job's row shows the progress and, at the end, the result. A process that is stopped or dies leaves no partial
result; the job is started over, by this replica or another one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from services.predictor.jobs.json_lines_process import JsonLinesProcess
from shared.errors import TransientError
from shared.ops.operations import Operation
from shared.runtime.jobs.job_lease import JobLease
from shared.runtime.jobs.thread import JobThread, start_job_thread
from shared.runtime.jobs.workers import StartWorker

PROGRAM = (sys.executable, "-m", "services.predictor.jobs.worker_program")
REPORT_S = 0.5
WAIT_S = 0.1
# Maximum length of the last log line, which the job's row shows while the process works.
LOG_LINE_CHARACTERS = 200
LEAST_PROGRESS = 0.05

T = TypeVar("T")


def job_starter(conninfo: str, models_dir: Path, program: Sequence[str] = PROGRAM) -> StartWorker:
    """Starts jobs for Service.jobs, each in a thread that supervises its process."""

    def start(operation: Operation, worker: str, _place: int) -> JobThread:
        request = {
            "kind": operation.kind,
            "database_url": conninfo,
            "models_dir": str(models_dir),
            "who": operation.requested_by,
            "request": f"operation {operation.id}",
            **operation.target,
        }
        return start_job_thread(
            lambda: closing(ProcessJob(JobLease(conninfo, operation.id, worker), program, request)),
            f"{operation.kind} {operation.id}",
        )

    return start


class ProcessJob:
    """Runs one job until it ends, is cancelled, or belongs to another worker."""

    def __init__(self, lease: JobLease, program: Sequence[str], request: Mapping[str, Any]) -> None:
        self.ticked_at = time.monotonic()
        self._lease = lease
        self._program = program
        self._request = request
        self._began_at = time.monotonic()
        self._reported_at = 0.0
        self._progress: float | None = None
        self._counts: dict[str, str] | None = None
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self._lease.close()

    def run(self) -> None:
        """Raises RuntimeError if the process died; the job is then tried again (shared/runtime/jobs/workers.py)."""
        if self._stopping or self._lease.read_requested_state() is None:
            return
        process = JsonLinesProcess(self._program)
        try:
            process.send(self._request)
            result = self._supervise(process)
        finally:
            exit_code = process.stop()
        if result is not None:
            self._retry(lambda: self._record_outcome(result))
        elif self._stopping or self._retry(self._lease.read_requested_state) != "run":
            self._retry(self._lease.release)
        else:
            raise RuntimeError(
                f"the job's process exited with {exit_code} and without a result; see the predictor's log"
            )

    def _supervise(self, process: JsonLinesProcess) -> dict[str, Any] | None:
        """Returns the message with the result or the refusal; None: the process died, or has to stop."""
        result: dict[str, Any] | None = None
        for message in process.messages(WAIT_S):
            self.ticked_at = time.monotonic()
            self._progress = message.get("progress", self._progress)
            if "said" in message:
                self._counts = {"said": message["said"][:LOG_LINE_CHARACTERS]}
            if "result" in message or "refused" in message:
                result = message
            if result is None and (self._stopping or not self._report()):
                return None
        return result

    def _report(self) -> bool:
        """Reports progress. False: the job is cancelled or belongs to another worker. True if the database is
        unavailable."""
        if time.monotonic() - self._reported_at < REPORT_S:
            return True
        self._reported_at = time.monotonic()
        try:
            return self._lease.report_progress(self._counts, self._progress, self._left_s(), None) == "run"
        except TransientError:
            return True

    def _left_s(self) -> float | None:
        """Remaining seconds, extrapolated from the progress; None: it is too early to tell."""
        if self._progress is None or self._progress < LEAST_PROGRESS:
            return None
        return (time.monotonic() - self._began_at) * (1 - self._progress) / self._progress

    def _record_outcome(self, result: Mapping[str, Any]) -> None:
        if "result" in result:
            self._lease.end("succeeded", result["result"])
        else:
            self._lease.end("failed", error=str(result["refused"]))

    def _retry(self, call: Callable[[], T]) -> T:
        """Retries while the database is unavailable: a result took minutes and must not be lost."""
        while True:
            self.ticked_at = time.monotonic()
            try:
                return call()
            except TransientError:
                if self._stopping:
                    raise
                time.sleep(REPORT_S)
