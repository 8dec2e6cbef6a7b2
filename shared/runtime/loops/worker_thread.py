"""A thread that works on one thing at a time, while its caller goes on with something else (docs/adr/0008)."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

# Most work is done before this: then nothing else needs to be done meanwhile.
SOON_S = 0.2
# Meanwhile, with so long between.
EVERY_S = 0.1

T = TypeVar("T")


class _Task:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the caller raises it
            self.error = error
        finally:
            self.done.set()


class Aside:
    """Always the same thread, for libraries that keep a pool of threads for each that calls them. Its caller is one
    thread, too. It is a daemon: work that never ends keeps no process alive."""

    def __init__(self, name: str) -> None:
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def call(self, work: Callable[[], T], meanwhile: Callable[[float], None]) -> T:
        """What `work` returns or raises. Until then `meanwhile` is called now and then with how long it has taken (s);
        what it raises gives the work up: it may still go on, but nobody waits for it any more."""
        if not self._thread.is_alive():
            self._thread.start()
        task = _Task(work)
        self._tasks.put(task)
        started_s = time.monotonic()
        done = task.done.wait(SOON_S)
        while not done:
            meanwhile(time.monotonic() - started_s)
            done = task.done.wait(EVERY_S)
        if task.error is not None:
            raise task.error
        return cast("T", task.result)

    def close(self) -> None:
        """It ends when it is done with what it does; nobody waits for that."""
        self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task.run()
