"""A job in a thread of a replica's own process, for one that costs little; it ends with a program's exit code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import structlog

from shared.errors import ConfigError
from shared.runtime.exit_codes import DIED, MISCONFIGURED, STOPPED, Loop
from shared.runtime.process.watchdog import Watchdog

log = structlog.get_logger(__name__)


class JobThread:
    """A job in a thread of this process, for one that costs little."""

    def __init__(self, run: Callable[[], None], stop: Callable[[], None], name: str) -> None:
        self._run = run
        self.stop = stop
        self._status: int | None = None
        self._words = "it said nothing"
        self._thread = threading.Thread(target=self._until_done, name=name, daemon=True)
        self._thread.start()

    def status(self) -> int | None:
        return self._status

    def wait(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def last_words(self) -> str:
        return self._words

    def _until_done(self) -> None:
        try:
            self._run()
        except ConfigError as error:  # no other worker would fare better
            self._words = str(error)
            self._status = MISCONFIGURED
        except Exception as error:
            log.exception("a job died")
            self._words = f"{type(error).__name__}: {error}"
            self._status = DIED
        else:
            self._status = STOPPED


def thread_of(make: Callable[[], AbstractContextManager[Loop]], name: str) -> JobThread:
    """A thread that makes a loop and runs it. What goes wrong while it is made is the worker's death, and no more."""
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
