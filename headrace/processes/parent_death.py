"""Makes this process end with the one that started it, when that one asked for it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

_PR_SET_PDEATHSIG = 1


def end_with_supervisor(environ: Mapping[str, str]) -> None:
    """Get SIGTERM when the supervisor ends, also by kill -9; it stays so over `exec`. Linux only."""
    if environ.get("HEADRACE_SUPERVISED") == "1" and sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before we asked
            raise SystemExit(1)
