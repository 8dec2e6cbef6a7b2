"""Supervises the services of one run and waits for conditions, in a single loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Self

import psycopg

from headrace.processes.interrupts import Interrupts
from headrace.processes.last_error import last_error, last_lines
from headrace.processes.supervisor import Program, Supervisor, stop_all
from headrace.progress.frame import StageState
from headrace.progress.observer import Observer
from headrace.progress.positions import PipelinePositions, Reading, waiting_for
from headrace.progress.replicas import held_back
from headrace.progress.stages import BY_URGENCY
from headrace.run.monitor import QUIET_S, Monitor
from headrace.run.stall_clock import StallClock
from shared.errors import ConfigError, HeadraceError
from shared.ops.tables import orders as orders_table
from shared.topics import LOADED, SERVICES

TICK_S = 0.1
# Without any progress for so long, with work left to do, a run fails. Longer than any retry of a source or a database.
STALL_S = 300.0
LOG_TAIL = 12


class RunFailed(HeadraceError):
    """The run cannot reach its end. The message names the program and its log."""


class Session:
    """Runs programs. Leaving the block stops all of them."""

    def __init__(self, monitor: Monitor, caught: Interrupts) -> None:
        self.monitor = monitor
        self.once = False
        self._caught = caught
        self._supervisors: list[Supervisor] = []
        self._stall = StallClock()

    def start(self, programs: Sequence[Program]) -> Supervisor:
        supervisor = Supervisor(programs)
        self._supervisors.append(supervisor)
        supervisor.start()
        self._stall.reset()
        return supervisor

    def stop(self, supervisor: Supervisor) -> None:
        self._supervisors.remove(supervisor)
        if killed := supervisor.stop():
            self.say(f"killed, because they did not stop in time: {', '.join(killed)}")

    def observer(self) -> Observer:
        return self.monitor.observer()

    def say(self, text: str) -> None:
        self.monitor.say(text)

    def run_task(self, program: Program) -> None:
        """Run a program that ends by itself beside the others. Raises RunFailed unless its exit status is 0."""
        supervisor = self.start([program])
        self.monitor.activity = lambda: _last_lines(program)
        self.wait(lambda: supervisor.exit_status(program.name) is not None)
        self.monitor.activity = tuple
        status = supervisor.exit_status(program.name)
        self.stop(supervisor)
        if status:
            raise RunFailed(
                f"{program.name} ended with status {status}: {last_error(program.log)} (log: {program.log})"
            )

    def wait(self, until: Callable[[], bool], give_up: bool = True) -> None:
        """Supervise the programs until the condition holds. With `give_up`, raises RunFailed when it never will."""
        while not until():
            self.monitor.show(self._processes())
            self._caught.wait(TICK_S)
            self._supervise(give_up)

    def wait_for_readings(self, done: Callable[[Reading], bool], give_up: bool = True) -> None:
        """Wait for a condition on two equal readings in a row: then nothing was in flight between them."""
        before: PipelinePositions | None = None

        def settled() -> bool:
            nonlocal before
            reading = self.monitor.reading_if_due()
            if reading is None:
                return False
            self._note_progress(reading)
            same, before = reading.positions == before, reading.positions
            if same and done(reading):
                self.monitor.obstacle = ""
                return True
            if same:
                self._report_pauses(reading)
            if give_up and (stalled_s := self._stall.stalled_s()) > STALL_S:
                raise RunFailed(f"nothing has moved for {stalled_s:.0f} s; still waiting for {waiting_for(reading)}")
            if same:
                self._report_held_back(give_up)
            return False

        self.wait(settled, give_up)

    def _note_progress(self, reading: Reading) -> None:
        throughput = self.monitor.throughput
        if throughput.read(reading.positions, time.monotonic()):
            self._stall.reset()
        if reading.positions.end_of(LOADED) > throughput.start.end_of(LOADED):
            self.monitor.say_once("loaded", True, ["the first events are loaded"])
        stalled_s = self._stall.stalled_s()
        waits = waiting_for(reading, self._follows()) if stalled_s > QUIET_S else None
        self.monitor.obstacle = f"nothing has moved for {stalled_s:.0f} s; waiting for {waits}" if waits else ""

    def _follows(self) -> bool:
        """Whether the fetcher follows its source in this phase, and so has no last window."""
        return self.monitor.phase.measure != "load"

    def _report_pauses(self, reading: Reading) -> None:
        """A pause by an operator is no stall: the run waits for its end without a limit."""
        try:
            paused = orders_table.paused_topics(self.observer().connection)
        except psycopg.OperationalError:
            return  # the next reading fails too, and reports it
        if paused:
            self._stall.reset()
        waits = waiting_for(reading, self._follows())
        remark = f": waiting for {waits}" if waits else ""
        lines = [f"the {at} is paused on {topic}{remark} (headrace resume {at} {topic})" for at, topic in paused]
        self.monitor.say_once("paused", paused, lines)

    def _report_held_back(self, give_up: bool) -> None:
        """A run with `once` fails here, because it would not end. In any other run an operator may resume."""
        held = held_back(self.observer().connection)
        if held and give_up and self.once:
            raise RunFailed(f"nothing moves any more: {'; '.join(held)}")
        if held:
            self._stall.reset()
        self.monitor.say_once("held back", held, [f"held back, waiting for a resume: {each}" for each in held])

    def _supervise(self, give_up: bool) -> None:
        for supervisor in self._supervisors:
            ended = supervisor.step()
            if program := supervisor.misconfigured_program():
                raise ConfigError(f"{program.name} refused its settings: {last_error(program.log)}")
            for dead in ended:
                if dead.restart:
                    self.say(f"{dead.name} ended and is started again; its last error: {last_error(dead.log)}")
            if (program := supervisor.failing_program()) and give_up:
                raise RunFailed(f"{program.name} keeps dying: {last_error(program.log)} (log: {program.log})")

    def _processes(self) -> dict[str, StageState]:
        """By service, for the view: the most urgent state of its processes. Not of services that do not run here."""
        states: dict[str, StageState] = {}
        for supervisor in self._supervisors:
            hopeless = supervisor.failing_program()
            for child in supervisor.children:
                service = child.program.name.rpartition("-")[0]
                dead: StageState = "failed" if child.program == hopeless else "restarting"
                state: StageState = "starting" if child.process is not None else dead
                if service in SERVICES:
                    states[service] = min(state, states.get(service, state), key=BY_URGENCY.index)
        return states

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.monitor.close()
        stop_all(self._supervisors)


def _last_lines(program: Program) -> tuple[str, ...]:
    """Of its log; a single line that says so while it has written nothing."""
    return tuple(last_lines(program.log)[-LOG_TAIL:]) or (f"{program.name} is starting",)
