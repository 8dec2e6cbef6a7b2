"""Limits how many documents the fetcher fetches: it takes a permit before each unit, and the suite issues the permits.

So documents are left for every fault, however long the faults before it lasted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

from shared.errors import TransientError

# Seconds between two documents. Every stage keeps up, and every fault hits work in progress.
UNIT_S = 0.8
# Far below the limits of the watchdog and of a stop: the fetcher's loop waits meanwhile.
PERMIT_LIMIT_S = 5.0
POLL_S = 0.05
# At full pace while a recovery is measured.
RECOVERY_DOCUMENTS = 6
# After the documents at full pace, each interval is longer than the one before by this factor.
GROWTH = 1.5


class Permits:
    """One file for each permit. Nothing is limited while the directory does not exist."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._issued = 0
        self._pause = Event()

    def limit(self) -> None:
        """From now on a permit is needed."""
        self._directory.mkdir(exist_ok=True)

    def lift(self) -> None:
        """From now on no permit is needed."""
        if self._directory.exists():
            self._directory.rename(self._directory.with_name(f"lifted-{time.monotonic_ns()}"))

    def issue(self) -> None:
        self._issued += 1
        (self._directory / str(self._issued)).touch()

    def are_left(self) -> bool:
        return self._directory.exists() and any(self._directory.iterdir())

    def take(self, limit_s: float = PERMIT_LIMIT_S) -> None:
        """Wait for a permit and remove it. Raises TransientError after `limit_s`: the caller tries again."""
        deadline_s = time.monotonic() + limit_s
        while not self._take_now():
            if time.monotonic() > deadline_s:
                raise TransientError("the fault suite holds back the next document")
            # Under libfaketime, time.sleep fails with EINVAL.
            self._pause.wait(POLL_S)

    def _take_now(self) -> bool:
        try:
            for permit in self._directory.iterdir():
                permit.unlink()
                return True
        except FileNotFoundError:  # lifted, or another process took it
            return not self._directory.exists()
        return False


class Supply:
    """Issues the permits. `step` must be called often. After `begin` and `resume`, some documents come at full pace,
    and the following ones at growing intervals: there is always work to come, and a slow machine uses few more."""

    def __init__(self, permits: Permits, clock: Callable[[], float] = time.monotonic) -> None:
        self._permits = permits
        self._clock = clock
        self._is_limited = False
        self._left = 0
        self._at_full_pace = 0
        self._interval_s = self._due_s = 0.0

    def limit(self, documents: int) -> None:
        """Hold back this many documents."""
        self._permits.limit()
        self._is_limited = True
        self._left = documents

    def lift(self) -> None:
        """The fetcher may fetch everything that is left, without pauses."""
        self._permits.lift()
        self._is_limited = False

    def begin(self, faults: int) -> None:
        """The next of `faults` faults begins. A quarter of its share comes at full pace, and the rest is for what it
        takes longer, and for its recovery."""
        self.resume(max(2, self._left // (4 * faults)))

    def resume(self, documents: int = RECOVERY_DOCUMENTS, interval_s: float = UNIT_S) -> None:
        """These documents come at `interval_s`, beginning now."""
        self._at_full_pace = documents
        self._interval_s = interval_s
        self._due_s = self._clock()

    def step(self) -> None:
        """Issue a permit if the last one was taken and the next document is due."""
        if not self._is_limited or self._clock() < self._due_s or self._permits.are_left():
            return
        self._permits.issue()
        self._left -= 1
        self._at_full_pace -= 1
        if self._at_full_pace < 0:
            self._interval_s *= GROWTH
        self._due_s = self._clock() + self._interval_s
