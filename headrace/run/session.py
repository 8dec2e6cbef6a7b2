"""Supervises the services of one run and waits for conditions, in a single loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Self

import psycopg

from headrace.database.access import Access, one_line
from headrace.processes.interrupts import Interrupts
from headrace.processes.last_error import last_error
from headrace.processes.supervisor import Program, Supervisor, stop_all
from headrace.progress.observer import Observer, held_back
from headrace.progress.positions import Positions, Reading, waiting_for
from headrace.progress.throughput import Meter
from headrace.progress.view import Frame, View, latest
from headrace.run.say_once import SayOnce
from headrace.run.stall_clock import StallClock
from shared.errors import ConfigError, HeadraceError, TransientError
from shared.ops.tables import orders as orders_table
from shared.retry import Retry
from shared.settings.sections import Settings
from shared.topics import LOADED

TICK_S = 0.1
READ_EVERY_S = 0.5
# Nothing moved, and something is still to do: longer than any retry of a source or a database takes.
STALL_S = 300.0


class RunFailed(HeadraceError):
    """The run cannot reach its end; says who is to blame and where to look."""


class Session:
    """Runs programs until told otherwise. Leaving the block stops all of them."""

    def __init__(  # the parts of a run
        self,
        access: Access,
        settings: Settings,
        token: str,
        caught: Interrupts,
        view: View,
        exports: bool,
        began_s: float,
        ready: Retry,
    ) -> None:
        self.access = access
        self._settings = settings
        self.title = ""
        self._token = token
        self._caught = caught
        self._view = view
        self._exports = exports
        self._supervisors: list[Supervisor] = []
        self._observer: Observer | None = None
        self._read_at_s = 0.0
        self._last: Reading | None = None
        self._began_s = began_s
        self.once = False
        self._say_once = SayOnce(self.say)
        self._stall = StallClock()
        # Before there is anything to supervise; later a look must be over soon.
        with closing(Observer(access, settings, token, ready)) as patient:
            self.meter = Meter(patient.positions(), time.monotonic())

    def start(self, programs: Sequence[Program]) -> Supervisor:
        supervisor = Supervisor(programs)
        self._supervisors.append(supervisor)
        supervisor.start()
        self._stall.reset()
        return supervisor

    def stop(self, supervisor: Supervisor) -> None:
        self._supervisors.remove(supervisor)
        if killed := supervisor.stop():
            self.say(f"did not stop in time and were killed: {', '.join(killed)}")

    def observer(self) -> Observer:
        if self._observer is None:
            self._observer = Observer(self.access, self._settings, self._token)
        return self._observer

    def say(self, text: str) -> None:
        self._view.say(f"{time.monotonic() - self._began_s:5.1f} s  {text}")

    def last_reading(self) -> Reading:
        """The one that ended the last wait."""
        if self._last is None:
            self._last = self.observer().reading(self._exports)
        return self._last

    def run_task(self, program: Program) -> None:
        """Run a program that ends by itself beside the others. Raises RunFailed unless it ends well."""
        supervisor = self.start([program])
        self.wait(lambda: supervisor.exit_status(program.name) is not None)
        status = supervisor.exit_status(program.name)
        self.stop(supervisor)
        if status:
            raise RunFailed(
                f"{program.name} ended with status {status}: {last_error(program.log)} (log: {program.log})"
            )

    def wait(self, until: Callable[[], bool], give_up: bool = True) -> None:
        """Tend the programs until the condition holds. With `give_up`, raises RunFailed when it never will."""
        while not until():
            self._caught.wait(TICK_S)
            self._tend(give_up)

    def wait_for_readings(self, done: Callable[[Reading], bool], give_up: bool = True) -> None:
        """The same for a condition on two equal readings in a row: nothing was in flight between them."""
        before: Positions | None = None

        def settled() -> bool:
            nonlocal before
            reading = self._reading_if_due()
            if reading is None:
                return False
            same, before = reading.positions == before, reading.positions
            if same and done(reading):
                return True
            if same:
                self._report_pauses(reading)
            if give_up and (stalled_s := self._stall.stalled_s()) > STALL_S:
                raise RunFailed(f"nothing has moved for {stalled_s:.0f} s; still waiting for {waiting_for(reading)}")
            if same:
                self._report_held_back(give_up)
            return False

        self.wait(settled, give_up)

    def _reading_if_due(self) -> Reading | None:
        if time.monotonic() < self._read_at_s:
            return None
        self._read_at_s = time.monotonic() + READ_EVERY_S
        try:
            reading = self.observer().reading(self._exports)
        except (psycopg.OperationalError, TransientError, ConfigError) as error:
            self._cannot_look(error)
            return None
        self._say_once("away", "")
        self._last = reading
        if self.meter.read(reading.positions, time.monotonic()):
            self._stall.reset()
        if reading.positions.end_of(LOADED) > self.meter.start.end_of(LOADED):
            self._say_once("loaded", True, ["the first events are loaded"])
        connection = self.observer().connection
        self._view.show(Frame(self.title, reading, self.meter, time.monotonic(), lambda: latest(connection)))
        return reading

    def _report_pauses(self, reading: Reading) -> None:
        """A pause by an operator is no stall: the run waits for its end without a limit."""
        try:
            paused = orders_table.paused_topics(self.observer().connection)
        except psycopg.OperationalError:
            return  # the next reading meets it too, and says so
        if paused:
            self._stall.reset()
        waits = f"waiting for {waiting_for(reading)}"
        lines = [f"the {at} is paused on {topic}: {waits} (headrace resume {at} {topic})" for at, topic in paused]
        self._say_once("paused", paused, lines)

    def _report_held_back(self, give_up: bool) -> None:
        """A run with `once` fails here, because it would not end. In any other run an operator may resume."""
        held = held_back(self.observer().connection)
        if held and give_up and self.once:
            raise RunFailed(f"nothing moves any more: {'; '.join(held)}")
        if held:
            self._stall.reset()
        self._say_once("held back", held, [f"held back, waiting for a resume: {each}" for each in held])

    def _cannot_look(self, error: Exception) -> None:
        """Report the failure and, where the database may be down, connect to it again with the next reading."""
        kafka = isinstance(error, TransientError) and self._settings.broker.address is not None
        away = "Kafka" if kafka else "the database"
        self._say_once("away", away, [f"{away} is away, trying again: {one_line(error)[:200]}"])
        down = self.access.server is not None and not self.access.server.accepts_connections()
        if kafka and not down:
            return
        if self._observer is not None:
            self._observer.close()
            self._observer = None
        if self.access.server is not None and down:
            self.access.server.start()

    def _tend(self, give_up: bool) -> None:
        for supervisor in self._supervisors:
            ended = supervisor.step()
            if program := supervisor.misconfigured_program():
                raise ConfigError(f"{program.name} refused its settings: {last_error(program.log)}")
            for dead in ended:
                if dead.restart:
                    self.say(f"{dead.name} ended and is started again; it said: {last_error(dead.log)}")
            if (program := supervisor.failing_program()) and give_up:
                raise RunFailed(f"{program.name} keeps dying: {last_error(program.log)} (log: {program.log})")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._view.close()
        if self._observer is not None:
            self._observer.close()
        stop_all(self._supervisors)
