"""Finds the reason why a program ended, as one line from the end of its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

# Larger than any traceback that a service logs.
TAIL_BYTES = 64 * 1024
MAX_CHARS = 300
# The fields of every log entry.
STANDARD_FIELDS = frozenset({"timestamp", "level", "service", "event"})


def last_error(log: Path) -> str:
    """The last error of a JSON log; without one, the last line."""
    lines = last_lines(log)
    for line in reversed(lines):
        message = _error_in(line)
        if message:
            return message[:MAX_CHARS]
    return lines[-1][:MAX_CHARS] if lines else "nothing"


def last_lines(log: Path) -> list[str]:
    """The lines at the end of a log that are not blank; none if it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return []


def _error_in(line: str) -> str | None:
    """The message of an entry of level error or critical: the last line of its exception, or its event and fields."""
    try:
        entry: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(entry, dict) or entry.get("level") not in {"error", "critical"}:
        return None
    exception = str(entry.get("exception") or "").strip()
    if exception:
        return exception.splitlines()[-1]
    fields = ", ".join(f"{name}={value}" for name, value in entry.items() if name not in STANDARD_FIELDS)
    return f"{entry.get('event')} ({fields})" if fields else str(entry.get("event"))
