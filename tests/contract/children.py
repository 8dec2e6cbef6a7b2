"""Waits for the output of child processes."""

from __future__ import annotations

import subprocess


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Wait until the child prints this line."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == text:
            return
    raise AssertionError(f"the child ended with {process.wait()} and never printed {text!r}")
