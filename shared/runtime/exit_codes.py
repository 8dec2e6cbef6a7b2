"""Exit codes of a service process, and the interfaces of its loop and its background threads.

0: stopped by a signal. 1: crashed, restart it. 2: a setting is wrong, a restart does not help.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

STOPPED, DIED, MISCONFIGURED = 0, 1, 2
SUPERVISED = "HEADRACE_SUPERVISED"


class Loop(Protocol):
    """What a process or a job's thread runs; `ticked_at` (monotonic) is when it last made progress."""

    ticked_at: float

    def run(self) -> None:
        """Work until `stop`; raises what it cannot handle."""

    def stop(self) -> None:
        """Finish the open unit and let `run` return. Called from any thread, more than once, also before `run`."""


Background = Callable[[threading.Event], None]
"""Work beside the loop, in a thread of its own. It returns soon after the event is set, and not before."""
