"""Child processes of tests, which end with their test whatever happens."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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
