"""Jobs that a process of their own works off (training_program.py), watched by a thread of the replica that took one.

The row says how far it is and, at the end, the version and its metrics. A process that is told to end, or dies, left
everything whole; the job is started over, by this replica or another one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import orjson
import structlog

from shared.database.connection import Link
from shared.errors import TransientError
from shared.ops.operations import Operation
from shared.ops.tables import jobs as jobs_table
from shared.runtime.jobs.thread import JobThread, thread_of

PROGRAM = (sys.executable, "-m", "services.predictor.jobs.worker_program")
TELL_S = 0.5
WAIT_S = 0.1
# A process that was asked to end: it has nothing to tidy up, so it is not given long.
END_S = 1.0
# Of its last words, which are shown while it works.
SAID = 200
LEAST_PROGRESS = 0.05

log = structlog.get_logger(__name__)


class ChildJobs:
    """Starts the workers of this replica; `start` goes into Service.jobs."""

    def __init__(self, conninfo: str, models_dir: Path, program: Sequence[str] = PROGRAM) -> None:
        self._conninfo = conninfo
        self._models_dir = models_dir
        self._program = program

    def start(self, operation: Operation, worker: str, _place: int) -> JobThread:
        request = {
            "kind": operation.kind, "database_url": self._conninfo, "models_dir": str(self._models_dir),
            "who": operation.requested_by, "request": f"operation {operation.id}", **operation.target,
        }  # fmt: skip

        @contextmanager
        def made() -> Iterator[ChildLoop]:
            link = Link(self._conninfo, f"job {operation.id}", autocommit=True)
            try:
                yield ChildLoop(link, operation.id, worker, lambda: Child(self._program, request))
            finally:
                link.drop()

        return thread_of(made, f"{operation.kind} {operation.id}")


class Child:
    """The process, and what it said so far. `stop` ends it, if it is not over."""

    def __init__(self, program: Sequence[str], request: dict[str, Any]) -> None:
        # A group of its own, for it may start more. No buffers: a thread that waits at one holds its lock.
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            program, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None  # noqa: S101  # a pipe, as asked for
        assert self._process.stdout is not None  # noqa: S101
        self._input = self._process.stdin  # open for as long as we live: it ends when this is closed
        self._output = self._process.stdout
        self._said: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._listening = threading.Thread(target=self._listen, name="what a job says", daemon=True)
        self._listening.start()
        try:
            self._input.write(orjson.dumps(request) + b"\n")
            self._input.flush()
        except BrokenPipeError:
            log.warning("a job's process ended before it was told what to do")

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self, timeout_s: float) -> dict[str, Any] | None:
        """The next thing it said; empty: nothing in this time; None: it is over."""
        try:
            return self._said.get(timeout=timeout_s)
        except Empty:
            return {} if self._process.poll() is None else self._rest()

    def stop(self) -> int:
        """Its exit code, negative for a signal."""
        self._signal(signal.SIGTERM)
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            code = self._process.wait()
        self._listening.join(END_S)
        self._input.close()
        return code

    def _rest(self) -> dict[str, Any] | None:
        """It has ended; something that it started may hold its output open yet, and is not waited for long."""
        self._listening.join(END_S)
        try:
            return self._said.get_nowait()
        except Empty:
            return None

    def _signal(self, number: signal.Signals) -> None:
        """To it and all that it started; not once it was waited for, when its number may be somebody else's."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _listen(self) -> None:
        with self._output:
            for line in self._output:
                try:
                    found = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(found, dict):
                    self._said.put(found)
        self._process.wait()
        self._said.put(None)


class ChildLoop:
    """One job from its beginning to its end, or until something else is wanted of it."""

    def __init__(self, link: Link, operation_id: str, worker: str, begin: Callable[[], Child]) -> None:
        self.ticked_at = time.monotonic()
        self._link = link
        self._id, self._worker = operation_id, worker
        self._begin = begin
        self._began_at = time.monotonic()
        self._told_at = 0.0
        self._progress: float | None = None
        self._last_words: str | None = None
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    def run(self) -> None:
        """Raises RuntimeError where the process died: it gets a successor (shared/runtime/jobs/workers.py)."""
        if self._stopping or self._wanted() is None:
            return
        child = self._begin()
        try:
            answer = self._attend(child)
        finally:
            code = child.stop()
        if answer is not None:
            self._until_told(lambda: self._end(answer))
        elif self._stopping or self._until_told(self._wanted) != "run":
            self._until_told(self._lay_down)
        else:
            raise RuntimeError(f"its process ended with {code} and no result; the log says more")

    def _attend(self, child: Child) -> dict[str, Any] | None:
        """What it answers in the end; None: it died, or something else is wanted."""
        answer: dict[str, Any] | None = None
        while (said := child.said(WAIT_S)) is not None:
            self.ticked_at = time.monotonic()
            self._progress = said.get("progress", self._progress)
            self._last_words = said.get("said", self._last_words)
            if "result" in said or "refused" in said:
                answer = said
            if answer is None and (self._stopping or self._tell() != "run"):
                return None
        return answer

    def _tell(self) -> str | None:
        """What is wanted of the job; None: it is somebody else's. While the database is away, it goes on."""
        if time.monotonic() - self._told_at < TELL_S:
            return "run"
        self._told_at = time.monotonic()
        try:
            with self._link.use() as connection:
                counts = None if self._last_words is None else {"said": self._last_words[:SAID]}
                return jobs_table.tell(
                    connection, self._id, self._worker, counts, self._progress, left_s=self._left_s()
                )
        except TransientError:
            return "run"

    def _left_s(self) -> float | None:
        """As long again as it took so far, by its progress; None: it is too early to say."""
        if self._progress is None or self._progress < LEAST_PROGRESS:
            return None
        return (time.monotonic() - self._began_at) * (1 - self._progress) / self._progress

    def _wanted(self) -> str | None:
        with self._link.use() as connection:
            return jobs_table.wanted_of(connection, self._id, self._worker)

    def _end(self, answer: dict[str, Any]) -> None:
        with self._link.use() as connection:
            if "result" in answer:
                jobs_table.end(connection, self._id, self._worker, "succeeded", answer["result"])
            else:
                jobs_table.end(connection, self._id, self._worker, "failed", None, str(answer["refused"]))

    def _lay_down(self) -> None:
        with self._link.use() as connection:
            jobs_table.lay_down(connection, self._id, self._worker)

    def _until_told(self, tell: Callable[[], Any]) -> Any:
        """A result took minutes: a database that is away for a while must not cost it."""
        while True:
            self.ticked_at = time.monotonic()
            try:
                return tell()
            except TransientError:
                if self._stopping:
                    raise
                time.sleep(TELL_S)
