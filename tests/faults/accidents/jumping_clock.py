"""A clock that can be set while the services run.

With libfaketime (Debian's package `libfaketime`, or its library in HEADRACE_FAKETIME), the clock of the services and of
the embedded PostgreSQL jumps, like the clock of a machine. Without it, only the clock that the services take their
decisions by: `tests/faults/service.py` replaces it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from shared.clock import Clock
from shared.settings.sections import ClockSettings

VARIABLE = "HEADRACE_FAKETIME"
CLOCK_FILE = "FAULTS_CLOCK"
_LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


def libfaketime() -> Path | None:
    """The library; None if it is not installed."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return next(iter(sorted(Path("/").glob(_LIBRARIES.lstrip("/")))), None)


class JumpingClock:
    """`file` holds the offset, such as `+86400`."""

    def __init__(self, file: Path, library: Path | None) -> None:
        self._file = file
        self._library = library
        self.jump(0)

    @property
    def is_of_the_machine(self) -> bool:
        return self._library is not None

    def jump(self, offset_s: int) -> None:
        """Set the offset to the real time. Processes read it once a second."""
        partial = self._file.with_suffix(".partial")
        partial.write_text(f"{offset_s:+d}\n")
        partial.chmod(0o644)
        partial.replace(self._file)

    def environment(self) -> Mapping[str, str]:
        """For the processes whose clock jumps."""
        if self._library is None:
            return {CLOCK_FILE: str(self._file)}
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


class InjectedClock:
    """Another clock, moved by the offset in a file."""

    def __init__(self, inner: Clock, file: Path) -> None:
        self._inner = inner
        self._file = file

    def now(self) -> datetime:
        return self._inner.now() + timedelta(seconds=int(self._file.read_text()))


class InjectedClockSettings(ClockSettings):
    """Settings whose clock jumps."""

    def clock(self) -> Clock:
        return InjectedClock(super().clock(), Path(os.environ[CLOCK_FILE]))
