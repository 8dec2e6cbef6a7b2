"""Child processes of tests: they end with their block whatever happens, and their output is waited for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import AnyStr


@contextmanager
def killed_at_end(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """The process, killed at the end of the block if it still runs.

    `with subprocess.Popen(...)` alone waits for it without a limit, also when the test has failed.
    """
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def stopped_at_end(process: subprocess.Popen[AnyStr], limit_s: float) -> Iterator[subprocess.Popen[AnyStr]]:
    """The process, terminated at the end of the block, and killed if it has not ended after `limit_s`."""
    with killed_at_end(process):
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(limit_s)


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Wait until the child prints this line."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == text:
            return
    raise AssertionError(f"the child ended with {process.wait()} and never printed {text!r}")
