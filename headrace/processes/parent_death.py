"""Ends this process together with its parent, if the parent is a supervisor that requests it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

_PR_SET_PDEATHSIG = 1


def end_with_supervisor(environ: Mapping[str, str]) -> None:
    """Receive SIGTERM when the supervisor ends, even by kill -9. It stays in force over exec(2). Linux only."""
    if environ.get("HEADRACE_SUPERVISED") == "1" and sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the supervisor ended before prctl
            raise SystemExit(1)
