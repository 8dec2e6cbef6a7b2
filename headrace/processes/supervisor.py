"""Starts programs, restarts those that die with increasing pauses, and stops all of them.

Independent of Headrace. One thread drives it by calling `step`; only `stop` waits.
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
# A program that was killed by a signal did not fail by itself: it counts as healthy if it survived its start. One that
# is killed at every start, for example for lack of memory, still needs the increasing pauses.
STARTED_AFTER_S = 3.0
# With the pauses above, about one minute of restarts.
MAX_DEATHS_IN_A_ROW = 10
# The exit status of Headrace's programs for a wrong setting, which a restart cannot fix.
WRONG_SETTINGS_STATUS = 2
GRACE_PERIOD_S = 7.0
MAX_LOG_BYTES = 20_000_000
LOG_CHECK_INTERVAL_S = 5.0


@dataclass(frozen=True)
class Program:
    """A program to run. Secrets belong in files named in the environment, never in the command."""

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
    def should_restart(self) -> bool:
        return self.program.restart and self.last_status != WRONG_SETTINGS_STATUS


class Supervisor:
    """Runs programs as children, each in its own session, so that Ctrl-C does not reach them; `stop` ends them."""

    def __init__(self, programs: Sequence[Program], now: Callable[[], float] = time.monotonic) -> None:
        self.children = [Child(program) for program in programs]
        self._now = now
        self._log_check_s = 0.0

    def start(self) -> None:
        for child in self.children:
            _rotate_log(child.program.log)
            self._spawn(child)

    def step(self) -> list[Program]:
        """Restart programs that are due; returns those that died since the last step."""
        dead = [child.program for child in self.children if self._reap(child)]
        for child in self.children:
            if child.process is None and child.should_restart and self._now() >= child.restart_at_s:
                self._spawn(child)
        if self._now() >= self._log_check_s:
            self._log_check_s = self._now() + LOG_CHECK_INTERVAL_S
            for child in self.children:
                _limit_log(child.program.log)
        return dead

    def misconfigured_program(self) -> Program | None:
        """The first program that exited because of wrong settings. It is not restarted."""
        return next(
            (c.program for c in self.children if c.process is None and c.last_status == WRONG_SETTINGS_STATUS), None
        )

    def failing_program(self) -> Program | None:
        """The first program that has died too often in a row. It is still restarted."""
        return next((child.program for child in self.children if self._is_failing(child)), None)

    def exit_status(self, name: str) -> int | None:
        """The exit status of a program that is not restarted; None while it runs."""
        child = next(child for child in self.children if child.program.name == name)
        return None if child.process is not None else child.last_status

    def stop(self, grace_s: float = GRACE_PERIOD_S) -> list[str]:
        """Send SIGTERM to all, and SIGKILL to those still running after `grace_s`; returns the names of the killed."""
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

    def _is_failing(self, child: Child) -> bool:
        is_unhealthy = child.process is None or self._now() - child.started_s < HEALTHY_AFTER_S
        return child.program.restart and is_unhealthy and child.deaths_in_a_row >= MAX_DEATHS_IN_A_ROW

    def _reap(self, child: Child) -> bool:
        if child.process is None or (status := child.process.poll()) is None:
            return False
        uptime_s = self._now() - child.started_s
        healthy = uptime_s >= (STARTED_AFTER_S if status < 0 else HEALTHY_AFTER_S)
        child.deaths_in_a_row = 1 if healthy else child.deaths_in_a_row + 1
        child.restart_at_s = self._now() + RESTART_PAUSE.delay_s(child.deaths_in_a_row)
        child.last_status = status
        _kill_group(child.process.pid)
        child.process = None
        return True


def stop_all(supervisors: Sequence[Supervisor], grace_s: float = GRACE_PERIOD_S) -> list[str]:
    """Stop the programs of several supervisors in parallel, with one common grace period."""
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
        # Processes that the child left behind are in its session, which is its process group.
        _kill_group(process.pid)
    return killed


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # an empty group, as expected; macOS raises PermissionError for it
        return


def _rotate_log(log: Path) -> None:
    """Start a run with an empty log; the previous log is kept as `.1`."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))


def _limit_log(log: Path) -> None:
    """Copy the log to `.1` and truncate it. The child keeps the file open in append mode and continues at its end."""
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
