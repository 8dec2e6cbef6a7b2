"""Runs calls in one worker thread while the caller does something else (docs/adr/0008)."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

# A call may take this long. After that the loop no longer ticks, and the watchdog ends the process.
MAX_CALL_S = 600.0
# Most calls return within this; until then the caller only waits.
FIRST_WAIT_S = 0.2
# The pause between two calls of `meanwhile`.
WAIT_S = 0.1

T = TypeVar("T")


class CallerThread:
    """Runs each call in the caller's own thread."""

    def call(self, work: Callable[[], T], _meanwhile: Callable[[float], None]) -> T:
        return work()

    def close(self) -> None:
        """Nothing is open."""


class WorkerThread:
    """Runs one call at a time, always in the same thread, because some libraries keep a thread pool for each calling
    thread. One thread calls it. The worker is a daemon: a call that never returns does not keep the process alive."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def call(self, work: Callable[[], T], meanwhile: Callable[[float], None]) -> T:
        """What `work` returns or raises. Until then `meanwhile` is called with the time taken so far (s), again and
        again. If it raises, the call is abandoned: `work` may go on, but its result is discarded."""
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
        """The thread ends after its current call. Does not wait for it."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            work, result = call
            try:
                result.set_result(work())
            except BaseException as error:  # noqa: BLE001  # the caller raises it
                result.set_exception(error)


def caller(name: str, *, slow: bool) -> CallerThread | WorkerThread:
    """Where the calls of a handler run."""
    return WorkerThread(name) if slow else CallerThread()
