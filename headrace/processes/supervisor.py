"""Keeps programs running: starts them, restarts what died with a growing pause, and stops all of them.

Knows nothing of Headrace. One thread drives it by calling `step`; it never waits except in `stop`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.backoff import Backoff

RESTART_PAUSE = Backoff(first_s=0.2, max_s=10.0)
HEALTHY_AFTER_S = 30.0
# Who was killed by a signal did not fail by itself: to have lived for longer than its start takes is enough. (Not at
# once: who is killed at each start, say for want of memory, must not be started without a pause.)
STARTED_AFTER_S = 3.0
# With the pauses above this is about a minute of trying.
DEATHS_IN_A_ROW = 10
# By the convention of Headrace's programs: a setting is wrong, and starting again will not mend it.
WRONG_SETTINGS = 2
GRACE_S = 7.0
LOG_BYTES = 20_000_000
LOG_CHECK_S = 5.0


@dataclass(frozen=True)
class Program:
    """What to run. Secrets belong into files named in the environment, never into the command."""

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    restart: bool = True


@dataclass
class Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    restart_at_s: float = 0.0
    deaths_in_a_row: int = 0
    last_status: int | None = None

    @property
    def wanted(self) -> bool:
        return self.program.restart and self.last_status != WRONG_SETTINGS


class Supervisor:
    """Runs programs as children, each in a session of its own, so that Ctrl-C reaches them only through `stop`."""

    def __init__(self, programs: Sequence[Program], now: Callable[[], float] = time.monotonic) -> None:
        self.children = [Child(program) for program in programs]
        self._now = now
        self._log_check_s = 0.0

    def start(self) -> None:
        for child in self.children:
            _set_log_aside(child.program.log)
            self._spawn(child)

    def step(self) -> list[Program]:
        """Restart what is due; returns the programs found dead since the last step."""
        dead = [child.program for child in self.children if self._reap(child)]
        for child in self.children:
            if child.process is None and child.wanted and self._now() >= child.restart_at_s:
                self._spawn(child)
        if self._now() >= self._log_check_s:
            self._log_check_s = self._now() + LOG_CHECK_S
            for child in self.children:
                _bound_log(child.program.log)
        return dead

    def refused(self) -> Program | None:
        """The first program whose settings are wrong: it is not started again."""
        return next((c.program for c in self.children if c.process is None and c.last_status == WRONG_SETTINGS), None)

    def hopeless(self) -> Program | None:
        """The first program that has died too often in a row; it is still started again."""
        return next((child.program for child in self.children if self._keeps_dying(child)), None)

    def ended(self, name: str) -> int | None:
        """The exit status of a program that is not started again; None while it runs."""
        child = next(child for child in self.children if child.program.name == name)
        return None if child.process is not None else child.last_status

    def stop(self, grace_s: float = GRACE_S) -> list[str]:
        """SIGTERM to all, SIGKILL to those that are still there after `grace_s`; returns the names of the killed."""
        return stop_all([self], grace_s)

    def _spawn(self, child: Child) -> None:
        program = child.program
        with program.log.open("ab") as log:
            child.process = subprocess.Popen(  # noqa: S603
                program.command,
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        child.started_s = self._now()

    def _keeps_dying(self, child: Child) -> bool:
        unwell = child.process is None or self._now() - child.started_s < HEALTHY_AFTER_S
        return child.program.restart and unwell and child.deaths_in_a_row >= DEATHS_IN_A_ROW

    def _reap(self, child: Child) -> bool:
        if child.process is None or (status := child.process.poll()) is None:
            return False
        lived_s = self._now() - child.started_s
        healthy = lived_s >= (STARTED_AFTER_S if status < 0 else HEALTHY_AFTER_S)
        child.deaths_in_a_row = 1 if healthy else child.deaths_in_a_row + 1
        child.restart_at_s = self._now() + RESTART_PAUSE.delay_s(child.deaths_in_a_row)
        child.last_status = status
        _kill_group(child.process.pid)
        child.process = None
        return True


def stop_all(supervisors: Sequence[Supervisor], grace_s: float = GRACE_S) -> list[str]:
    """Stop what several supervisors run, at once: their times of grace do not add up."""
    children = [child for supervisor in supervisors for child in supervisor.children]
    running = [(child, child.process) for child in children if child.process is not None]
    for _, process in running:
        process.send_signal(signal.SIGTERM)
    deadline_s = time.monotonic() + grace_s
    killed = []
    for child, process in running:
        try:
            process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            killed.append(child.program.name)
            process.kill()
            process.wait()
        child.process = None
        # What a child started and left behind is in the child's session, which is its process group.
        _kill_group(process.pid)
    return killed


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # empty, as it should be; macOS says "not permitted" of an empty one
        return


def _set_log_aside(log: Path) -> None:
    """A run begins with an empty log; the one before is kept as `.1`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))


def _bound_log(log: Path) -> None:
    """Copy and truncate, because the child keeps the file open; it appends, so it goes on at the new end."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
