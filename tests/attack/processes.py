"""What processes hold: descriptors, threads and memory, from /proc."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

# Log files, a database connection that was opened again, and a thread of a background task come and go.
SLACK = 8
# Caches fill while a process works; a leak of every request would be more.
MEMORY_SLACK_MB = 128


class Holdings(NamedTuple):
    descriptors: int
    threads: int
    memory_mb: int


def holdings_of(pid: int) -> Holdings:
    """Raises FileNotFoundError if the process has ended."""
    directory = Path("/proc") / str(pid)
    status = dict(
        line.split(":", 1) for line in (directory / "status").read_text(encoding="utf-8").splitlines() if ":" in line
    )
    memory_kb = int(status["VmRSS"].split()[0])
    return Holdings(len(list((directory / "fd").iterdir())), int(status["Threads"]), memory_kb // 1024)


def leaks(before: Mapping[str, Holdings], after: Mapping[str, Holdings]) -> Iterator[str]:
    for name, then in before.items():
        now = after[name]
        for what, slack in (("descriptors", SLACK), ("threads", SLACK), ("memory_mb", MEMORY_SLACK_MB)):
            old, new = getattr(then, what), getattr(now, what)
            if new > old + slack:
                yield f"{name}: {what} grew from {old} to {new}"
