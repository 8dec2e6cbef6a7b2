"""A clock that can be set while the services run.

With libfaketime (Debian's package `libfaketime`, or its library in HEADRACE_FAKETIME), the clock of the services and of
the embedded PostgreSQL jumps, like the clock of a machine. Without it, only the clock that the services take their
decisions by: `tests/faults/service.py` replaces it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from shared.clock import Clock
from shared.settings.sections import ClockSettings
from tests.faults.schedule import KAFKA

VARIABLE = "HEADRACE_FAKETIME"
CLOCK_FILE = "FAULTS_CLOCK"
_LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"
_SHARED_MEMORY = Path("/dev/shm")  # where Linux has the named semaphores, too
# Far more than libfaketime uses: two counters, and the time of the first start, whose parts are -1 until it is known.
_SHARED_BYTES = bytes(16) + b"\xff" * 4080


def libfaketime() -> Path | None:
    """The library; None if it is not installed, or the variable is empty."""
    if (named := os.environ.get(VARIABLE)) is not None:
        return Path(named) if named else None
    return next(iter(sorted(Path("/").glob(_LIBRARIES.lstrip("/")))), None)


def libfaketime_for(broker: str) -> Path | None:
    """The library for a run with this broker. None with Kafka, whose client calls `time.sleep`: that fails with EINVAL
    under libfaketime."""
    return None if broker == KAFKA else libfaketime()


@contextmanager
def shared_by_all_users(name: str) -> Iterator[str]:
    """The semaphore and the memory that processes under libfaketime share, as the value of FAKETIME_SHARED.

    Otherwise each one makes its own, which its children cannot open after they have changed their user, as the server
    of root does, and which remain if it is killed.
    """
    semaphore, memory = f"/{name}-semaphore", f"/{name}-memory"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sem_open.restype = ctypes.c_void_p
    # Mode and value are variadic.
    if not libc.sem_open(semaphore.encode(), os.O_CREAT, ctypes.c_uint(0o600), ctypes.c_uint(1)):
        raise OSError(ctypes.get_errno(), "sem_open")
    files = [_SHARED_MEMORY / f"sem.{semaphore[1:]}", _SHARED_MEMORY / memory[1:]]
    try:
        files[1].write_bytes(_SHARED_BYTES)
        for file in files:
            file.chmod(0o666)
        yield f"{semaphore} {memory}"
    finally:
        for file in files:
            file.unlink(missing_ok=True)


class JumpingClock:
    """`file` holds the offset, such as `+86400`; `shared` is the value of FAKETIME_SHARED."""

    def __init__(self, file: Path, library: Path | None, shared: str = "") -> None:
        self._file = file
        self._library = library
        self._shared = shared
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
            "FAKETIME_SHARED": self._shared,
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
