"""Exit codes of a service process, and what its loop and its background threads agree on with the process.

0: stopped by a signal. 1: crashed, restart it. 2: a setting is wrong, a restart does not help.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

STOPPED, DIED, MISCONFIGURED = 0, 1, 2
SUPERVISED = "HEADRACE_SUPERVISED"

Background = Callable[[threading.Event], None]
"""Work beside the loop, in a thread of its own. It returns soon after the event is set, and not before."""
