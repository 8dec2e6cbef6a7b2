"""What child processes tell the test that started them."""

from __future__ import annotations

import subprocess


def said(process: subprocess.Popen[str], text: str) -> None:
    """Wait until the child says so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == text:
            return
    raise AssertionError(f"the child ended with {process.wait()} and never said {text!r}")
