"""Runs a job in a thread of the replica's process, for jobs that need little CPU. It ends with an exit code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import structlog

from shared.errors import ConfigError
from shared.runtime.exit_codes import CRASHED, MISCONFIGURED, STOPPED, Loop
from shared.runtime.process.watchdog import Watchdog

log = structlog.get_logger(__name__)


class JobThread:
    """The thread of a job. `status` is an exit code, as of a process."""

    def __init__(self, run: Callable[[], None], stop: Callable[[], None], name: str) -> None:
        self._run = run
        self.stop = stop
        self._status: int | None = None
        self._last_error = "no output"
        self._thread = threading.Thread(target=self._until_done, name=name, daemon=True)
        self._thread.start()

    def status(self) -> int | None:
        return self._status

    def wait(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def last_error(self) -> str:
        return self._last_error

    def _until_done(self) -> None:
        try:
            self._run()
        except ConfigError as error:  # another worker would fail too
            self._last_error = str(error)
            self._status = MISCONFIGURED
        except Exception as error:
            log.exception("job_worker_crashed")
            self._last_error = f"{type(error).__name__}: {error}"
            self._status = CRASHED
        else:
            self._status = STOPPED


def start_job_thread(make: Callable[[], AbstractContextManager[Loop]], name: str) -> JobThread:
    """Start a thread that creates a loop and runs it. An error while creating it ends the worker only."""
    loops: list[Loop] = []
    ending = threading.Event()

    def run() -> None:
        with make() as loop:
            loops.append(loop)
            if ending.is_set():
                loop.stop()
            with Watchdog(loop):
                loop.run()

    def stop() -> None:
        ending.set()
        for loop in loops:
            loop.stop()

    return JobThread(run, stop, name)
