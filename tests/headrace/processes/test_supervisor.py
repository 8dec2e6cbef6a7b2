"""The supervisor, with small real programs as children."""

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

WAITS = "import signal; print('up', flush=True); signal.pause()"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}; signal.pause()"
DIES = "import sys; print('no luck', flush=True); sys.exit(3)"
REFUSES = "import sys; print('database.url: missing', file=sys.stderr); sys.exit(2)"
HAS_A_CHILD = (
    "import subprocess, sys, signal; p = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
    " print(p.pid, flush=True); signal.pause()"
)


class Hand:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def program(tmp_path: Path, name: str, source: str) -> Program:
    return Program(name, (sys.executable, "-c", source), tmp_path / "logs" / f"{name}.log")


def gone(pid: int) -> bool:
    """Nothing of it runs: a zombie that nobody has reaped yet counts as gone."""
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return said.strip() == "" or said.startswith("Z")


def pids(supervisor: Supervisor) -> dict[str, int]:
    """Of the programs that run now."""
    return {child.program.name: child.process.pid for child in supervisor.children if child.process is not None}


def found_dead(supervisor: Supervisor) -> bool:
    return [program.name for program in supervisor.step()] == ["p0"]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def make(*sources: str, now: Callable[[], float] = time.monotonic) -> Supervisor:
        made.append(Supervisor([program(tmp_path, f"p{i}", source) for i, source in enumerate(sources)], now))
        made[-1].start()
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop(0.1)


def test_a_killed_program_is_started_again_after_the_first_pause(make: Callable[..., Supervisor]) -> None:
    clock = Hand()
    supervisor = make(WAITS, now=clock)
    first = pids(supervisor)["p0"]

    os.kill(first, signal.SIGKILL)
    wait_until(lambda: found_dead(supervisor))
    assert pids(supervisor) == {}
    clock.now_s += RESTART_PAUSE.first_s
    supervisor.step()

    assert pids(supervisor)["p0"] != first


def test_pauses_double_up_to_the_longest() -> None:
    assert [RESTART_PAUSE.delay_s(n) for n in range(1, 9)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert RESTART_PAUSE.delay_s(10_000) == 10.0


@pytest.mark.parametrize("lives_s", [(1.0, 1.0, rules.STARTED_AFTER_S), (rules.STARTED_AFTER_S,) * 4])
def test_who_is_killed_once_it_is_up_is_started_again_at_once(
    make: Callable[..., Supervisor], lives_s: Sequence[float]
) -> None:
    assert _last_pause_s(make, WAITS, lives_s) == pytest.approx(RESTART_PAUSE.first_s, abs=0.1)


def test_who_is_killed_as_soon_as_it_starts_waits_longer_each_time(make: Callable[..., Supervisor]) -> None:
    assert _last_pause_s(make, WAITS, (1.0, 1.0, 1.0)) == pytest.approx(RESTART_PAUSE.delay_s(3), abs=0.1)


@pytest.mark.parametrize(
    ("life_s", "deaths"), [(rules.STARTED_AFTER_S, 3), (rules.HEALTHY_AFTER_S, 1)], ids=["short", "healthy"]
)
def test_who_fails_by_itself_must_have_lived_long(make: Callable[..., Supervisor], life_s: float, deaths: int) -> None:
    ends = "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3)); print('up', flush=True)"
    source = f"{ends}\nwhile True: signal.pause()"

    pause_s = _last_pause_s(make, source, (life_s,) * 3, signal.SIGUSR1)

    assert pause_s == pytest.approx(RESTART_PAUSE.delay_s(deaths), abs=0.1)


def _last_pause_s(
    make: Callable[..., Supervisor], source: str, lives_s: Sequence[float], by: signal.Signals = signal.SIGKILL
) -> float:
    """How long the last start waited for, after lives that were each ended by a signal."""
    clock = Hand()
    supervisor = make(source, now=clock)
    died_s = clock.now_s
    for number, lived_s in enumerate(lives_s, 1):
        log = supervisor.children[0].program.log
        wait_until(lambda log=log, number=number: log.read_text().count("up") >= number)  # type: ignore[misc]
        clock.now_s += lived_s
        os.kill(pids(supervisor)["p0"], by)
        wait_until(lambda: found_dead(supervisor))
        died_s = clock.now_s
        wait_until(lambda: _later(clock) and (supervisor.step(), pids(supervisor))[1])
    return clock.now_s - died_s


def _later(clock: Hand) -> bool:
    clock.now_s += 0.05
    return True


def test_a_program_that_keeps_dying_is_hopeless(make: Callable[..., Supervisor]) -> None:
    clock = Hand()
    supervisor = make(DIES, now=clock)

    def died_again() -> object:
        if not pids(supervisor):
            clock.now_s += 1.0
        supervisor.step()
        return supervisor.failing_program()

    wait_until(died_again)

    hopeless = supervisor.failing_program()
    assert hopeless is not None
    assert supervisor.children[0].deaths_in_a_row >= rules.MAX_DEATHS_IN_A_ROW
    assert last_error(hopeless.log) == "no luck"


def test_a_program_that_refuses_its_settings_is_not_started_again(make: Callable[..., Supervisor]) -> None:
    clock = Hand()
    supervisor = make(REFUSES, now=clock)

    wait_until(lambda: found_dead(supervisor))
    clock.now_s += 1000.0
    supervisor.step()

    refused = supervisor.misconfigured_program()
    assert refused is not None
    assert last_error(refused.log) == "database.url: missing"
    assert pids(supervisor) == {}


def test_stop_ends_all_and_says_which_had_to_be_killed(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = make(WAITS, DEAF)
    running = list(pids(supervisor).values())
    wait_until(lambda: last_error(tmp_path / "logs" / "p1.log") == "up")

    killed = supervisor.stop(grace_s=3.0)

    assert killed == ["p1"]
    assert all(gone(pid) for pid in running)


def test_what_a_program_started_does_not_outlive_it(make: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = make(HAS_A_CHILD)
    log = tmp_path / "logs" / "p0.log"
    wait_until(lambda: last_error(log).isdigit())
    grandchild = int(last_error(log))

    supervisor.stop(grace_s=DEADLINE_S)

    wait_until(lambda: gone(grandchild))


def test_a_log_stays_bounded_while_its_program_goes_on_writing(tmp_path: Path, make: Callable[..., Supervisor]) -> None:
    clock = Hand()
    supervisor = make(f"import signal\nprint('x' * {rules.MAX_LOG_BYTES + 1}, flush=True)\nsignal.pause()", now=clock)
    log = tmp_path / "logs" / "p0.log"
    wait_until(lambda: log.stat().st_size > rules.MAX_LOG_BYTES)

    clock.now_s += rules.LOG_CHECK_INTERVAL_S
    supervisor.step()

    assert log.stat().st_size <= len("\n")  # the line end may come in a write of its own
    assert log.with_suffix(".log.1").stat().st_size > rules.MAX_LOG_BYTES


def test_each_run_begins_with_an_empty_log_and_keeps_the_one_before(
    tmp_path: Path, make: Callable[..., Supervisor]
) -> None:
    log = tmp_path / "logs" / "p0.log"
    log.parent.mkdir()
    log.write_text("of the run before\n")

    make(WAITS)
    wait_until(lambda: log.read_text() == "up\n")  # the line end may come in a write of its own

    assert log.with_suffix(".log.1").read_text() == "of the run before\n"


def test_a_program_that_ends_by_itself_is_not_started_again(tmp_path: Path) -> None:
    clock = Hand()
    supervisor = Supervisor(
        [Program("task", (sys.executable, "-c", DIES), tmp_path / "task.log", restart=False)], clock
    )
    supervisor.start()

    wait_until(supervisor.step)
    clock.now_s += 1000.0

    assert supervisor.step() == []
    assert supervisor.exit_status("task") == 3
    assert supervisor.failing_program() is None
