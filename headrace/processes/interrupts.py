"""Turns Ctrl-C and SIGTERM into a condition to wait for, instead of an exception at an arbitrary point."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal asked the process to stop. `exit_code`: 128 plus the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class Interrupts:
    """Records the first signal. A run sleeps only in `wait`."""

    def __init__(self) -> None:
        self._wake_r, self._wake_w = os.pipe()
        self.number: int | None = None

    def wait(self, seconds: float) -> None:
        """Sleep. Raises Interrupted if a signal has arrived before or arrives meanwhile."""
        if self.number is None:
            select.select([self._wake_r], [], [], seconds)
        if self.number is not None:
            raise Interrupted(self.number)

    def record(self, number: int, _frame: FrameType | None = None) -> None:
        if self.number is None:
            self.number = number
            os.write(self._wake_w, b"!")

    def close(self) -> None:
        os.close(self._wake_r)
        os.close(self._wake_w)


@contextmanager
def catch_interrupts() -> Iterator[Interrupts]:
    """Catch the signals until the end of the block. Only for the main thread."""
    recorder = Interrupts()
    previous_handlers = {number: signal.signal(number, recorder.record) for number in SIGNALS}
    try:
        yield recorder
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
        recorder.close()
