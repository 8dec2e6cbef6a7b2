"""The supervisor, with small real programs as child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from headrace.processes import supervisor as rules
from headrace.processes.last_error import last_error
from headrace.processes.supervisor import RESTART_PAUSE, Program, Supervisor
from tests.waiting import DEADLINE_S, wait_until

RUNS = "import signal; print('up', flush=True); signal.pause()"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {RUNS}; signal.pause()"
FAILS = "import sys; print('no luck', flush=True); sys.exit(3)"
MISCONFIGURED = "import sys; print('database.url: missing', file=sys.stderr); sys.exit(2)"
STARTS_A_CHILD = (
    "import subprocess, sys, signal; p = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
    " print(p.pid, flush=True); signal.pause()"
)


class ManualClock:
    """A clock that moves only when a test sets it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def program(tmp_path: Path, name: str, source: str) -> Program:
    return Program(name, (sys.executable, "-c", source), tmp_path / "logs" / f"{name}.log")


def gone(pid: int) -> bool:
    """No such process runs; a zombie counts as gone."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip() == "" or state.startswith("Z")


def pids(supervisor: Supervisor) -> dict[str, int]:
    """The pids of the programs that run now, by name."""
    return {child.program.name: child.process.pid for child in supervisor.children if child.process is not None}


def p0_has_died(supervisor: Supervisor) -> bool:
    return [program.name for program in supervisor.step()] == ["p0"]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    supervisors: list[Supervisor] = []

    def make(*sources: str, now: Callable[[], float] = time.monotonic) -> Supervisor:
        supervisors.append(Supervisor([program(tmp_path, f"p{i}", source) for i, source in enumerate(sources)], now))
        supervisors[-1].start()
        return supervisors[-1]

    yield make
    for supervisor in supervisors:
        supervisor.stop(0.1)


def test_a_killed_program_is_restarted_after_the_first_pause(make: Callable[..., Supervisor]) -> None:
    clock = ManualClock()
    supervisor = make(RUNS, now=clock)
    first = pids(supervisor)["p0"]

    os.kill(first, signal.SIGKILL)
    wait_until(lambda: p0_has_died(supervisor))
    assert pids(supervisor) == {}
    clock.now_s += RESTART_PAUSE.first_s
    supervisor.step()

    assert pids(supervisor)["p0"] != first


def test_pauses_double_up_to_the_maximum() -> None:
    assert [RESTART_PAUSE.delay_s(n) for n in range(1, 9)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert RESTART_PAUSE.delay_s(10_000) == 10.0


@pytest.mark.parametrize("lifetimes_s", [(1.0, 1.0, rules.STARTED_AFTER_S), (rules.STARTED_AFTER_S,) * 4])
def test_a_program_that_is_killed_after_its_start_is_restarted_at_once(
    make: Callable[..., Supervisor], lifetimes_s: Sequence[float]
) -> None:
    assert _last_pause_s(make, RUNS, lifetimes_s) == pytest.approx(RESTART_PAUSE.first_s, abs=0.1)


def test_a_program_that_is_killed_during_its_start_waits_longer_each_time(make: Callable[..., Supervisor]) -> None:
    assert _last_pause_s(make, RUNS, (1.0, 1.0, 1.0)) == pytest.approx(RESTART_PAUSE.delay_s(3), abs=0.1)


@pytest.mark.parametrize(
    ("lifetime_s", "deaths"), [(rules.STARTED_AFTER_S, 3), (rules.HEALTHY_AFTER_S, 1)], ids=["short", "healthy"]
)
def test_only_a_long_lifetime_resets_the_pause_of_a_program_that_fails(
    make: Callable[..., Supervisor], lifetime_s: float, deaths: int
) -> None:
    fails_on_signal = (
        "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3)); print('up', flush=True)"
    )
    source = f"{fails_on_signal}\nwhile True: signal.pause()"

    pause_s = _last_pause_s(make, source, (lifetime_s,) * 3, signal.SIGUSR1)

    assert pause_s == pytest.approx(RESTART_PAUSE.delay_s(deaths), abs=0.1)


def _last_pause_s(
    make: Callable[..., Supervisor], source: str, lifetimes_s: Sequence[float], by: signal.Signals = signal.SIGKILL
) -> float:
    """How long the last restart waited, after each lifetime was ended by a signal."""
    clock = ManualClock()
    supervisor = make(source, now=clock)
    died_s = clock.now_s
    for number, lifetime_s in enumerate(lifetimes_s, 1):
        log = supervisor.children[0].program.log
        wait_until(lambda log=log, number=number: log.read_text().count("up") >= number)  # type: ignore[misc]
        clock.now_s += lifetime_s
        os.kill(pids(supervisor)["p0"], by)
        wait_until(lambda: p0_has_died(supervisor))
        died_s = clock.now_s
        wait_until(lambda: _advance(clock) and (supervisor.step(), pids(supervisor))[1])
    return clock.now_s - died_s


def _advance(clock: ManualClock) -> bool:
    clock.now_s += 0.05
    return True


def test_a_program_that_keeps_failing_is_reported(make: Callable[..., Supervisor]) -> None:
    clock = ManualClock()
    supervisor = make(FAILS, now=clock)

    def reported_program() -> object:
        if not pids(supervisor):
            clock.now_s += 1.0
        supervisor.step()
        return supervisor.failing_program()

    wait_until(reported_program)

    failing = supervisor.failing_program()
    assert failing is not None
    assert supervisor.children[0].deaths_in_a_row >= rules.MAX_DEATHS_IN_A_ROW
    assert last_error(failing.log) == "no luck"


def test_a_program_that_refuses_its_settings_is_not_restarted(make: Callable[..., Supervisor]) -> None:
    clock = ManualClock()
    supervisor = make(MISCONFIGURED, now=clock)

    wait_until(lambda: p0_has_died(supervisor))
    clock.now_s += 1000.0
    supervisor.step()

    misconfigured = supervisor.misconfigured_program()
    assert misconfigured is not None
    assert last_error(misconfigured.log) == "database.url: missing"
    assert pids(supervisor) == {}


def test_stop_ends_all_programs_and_returns_those_that_were_killed(
    make: Callable[..., Supervisor], tmp_path: Path
) -> None:
    supervisor = make(RUNS, IGNORES_SIGTERM)
    running = list(pids(supervisor).values())
    wait_until(lambda: last_error(tmp_path / "logs" / "p1.log") == "up")

    killed = supervisor.stop(grace_s=3.0)

    assert killed == ["p1"]
    assert all(gone(pid) for pid in running)


def test_child_processes_of_a_program_do_not_outlive_it(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = make(STARTS_A_CHILD)
    log = tmp_path / "logs" / "p0.log"
    wait_until(lambda: last_error(log).isdigit())
    grandchild = int(last_error(log))

    supervisor.stop(grace_s=DEADLINE_S)

    wait_until(lambda: gone(grandchild))


def test_a_log_stays_bounded_while_its_program_keeps_writing(tmp_path: Path, make: Callable[..., Supervisor]) -> None:
    clock = ManualClock()
    supervisor = make(f"import signal\nprint('x' * {rules.MAX_LOG_BYTES + 1}, flush=True)\nsignal.pause()", now=clock)
    log = tmp_path / "logs" / "p0.log"
    wait_until(lambda: log.stat().st_size > rules.MAX_LOG_BYTES)

    clock.now_s += rules.LOG_CHECK_INTERVAL_S
    supervisor.step()

    assert log.stat().st_size <= len("\n")  # the line end may be written separately
    assert log.with_suffix(".log.1").stat().st_size > rules.MAX_LOG_BYTES


def test_each_run_starts_an_empty_log_and_keeps_the_previous_one(
    tmp_path: Path, make: Callable[..., Supervisor]
) -> None:
    log = tmp_path / "logs" / "p0.log"
    log.parent.mkdir()
    log.write_text("of the previous run\n")

    make(RUNS)
    wait_until(lambda: log.read_text() == "up\n")  # the line end may be written separately

    assert log.with_suffix(".log.1").read_text() == "of the previous run\n"


def test_a_program_without_restart_is_not_restarted(tmp_path: Path) -> None:
    clock = ManualClock()
    supervisor = Supervisor(
        [Program("task", (sys.executable, "-c", FAILS), tmp_path / "task.log", restart=False)], clock
    )
    supervisor.start()

    wait_until(supervisor.step)
    clock.now_s += 1000.0

    assert supervisor.step() == []
    assert supervisor.exit_status("task") == 3
    assert supervisor.failing_program() is None
