"""Programs that change a registry at the same time."""

from __future__ import annotations

import subprocess
import sys
import textwrap

LIMIT_S = 60.0


def start_program(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run_together(processes: list[subprocess.Popen[bytes]]) -> list[str]:
    """Lets all programs continue at once when all are ready; returns their outputs."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=LIMIT_S) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return [out.decode() for out, _ in outputs]
