"""Runs calls in one worker thread while the caller does something else (docs/adr/0008)."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

# The limit of a call. After it the loop no longer ticks, and the watchdog ends the process.
MAX_CALL_S = 600.0
# Most calls return within this time; until then the caller only waits.
FIRST_WAIT_S = 0.2
# The interval between two calls of `meanwhile`.
WAIT_S = 0.1

T = TypeVar("T")


class CallerThread:
    """Runs each call in the caller's own thread."""

    def call(self, work: Callable[[], T], _meanwhile: Callable[[float], None]) -> T:
        return work()

    def close(self) -> None:
        """Does nothing."""


class WorkerThread:
    """Runs one call at a time, always in the same worker thread, because some libraries keep a thread pool for each
    calling thread. Call it from one thread only. The worker is a daemon thread: a call that never returns does not
    keep the process alive."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def call(self, work: Callable[[], T], meanwhile: Callable[[float], None]) -> T:
        """Returns or raises what `work` does. Meanwhile calls `meanwhile` repeatedly with the elapsed time in seconds.
        If `meanwhile` raises, the call is abandoned: `work` may continue, but its result is discarded."""
        if not self._thread.is_alive():
            self._thread.start()
        result: Future[T] = Future()
        self._calls.put((work, result))
        started_s = time.monotonic()
        done = wait([result], FIRST_WAIT_S).done
        while not done:
            meanwhile(time.monotonic() - started_s)
            done = wait([result], WAIT_S).done
        return result.result()

    def close(self) -> None:
        """Let the thread end after its current call. Does not wait for it."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            work, result = call
            try:
                result.set_result(work())
            except BaseException as error:  # noqa: BLE001  # the caller raises it
                result.set_exception(error)


def caller(name: str, *, slow: bool) -> CallerThread | WorkerThread:
    """The thread in which the calls of a handler run: a worker thread if it is slow, otherwise the caller's own."""
    return WorkerThread(name) if slow else CallerThread()
