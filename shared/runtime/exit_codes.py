"""Defines the exit codes of a service process, and the interfaces of its loop and its background threads.

0: stopped by a signal. 1: crashed, restart it. 2: a setting is wrong, a restart does not help.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

STOPPED, CRASHED, MISCONFIGURED = 0, 1, 2
SUPERVISED = "HEADRACE_SUPERVISED"


class Loop(Protocol):
    """The main loop of a process or of a job's thread. `ticked_at` (monotonic, s) is when it last made progress."""

    ticked_at: float

    def run(self) -> None:
        """Work until `stop` is called. Raises errors that it cannot handle."""

    def stop(self) -> None:
        """Finish the open unit, then let `run` return. May be called from any thread, repeatedly, and before `run`."""


Background = Callable[[threading.Event], None]
"""A background task in its own thread. It must return soon after the event is set, and not before."""
