"""The replicas of the services, as processes under the supervisor of `headrace run`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence

from headrace.processes.supervisor import Child, Program, Supervisor, stop_all
from shared.topics import SERVICES
from tests.faults.errors import RunStuckError


class Replicas:
    """`deaths`: how often each ended without being stopped. `cut_short`: the same, and those that did not end in
    order when they were stopped; a notifier of them may have left a message without a decision."""

    def __init__(self) -> None:
        self.deaths: Counter[str] = Counter()
        self.cut_short: Counter[str] = Counter()
        self._supervisor = Supervisor([])

    @property
    def children(self) -> list[Child]:
        return self._supervisor.children

    def start(self, programs: Sequence[Program]) -> None:
        self._supervisor = Supervisor(programs)
        self._supervisor.start()

    def step(self) -> None:
        """Restart those that died. Raises RunStuckError if one refuses its settings or keeps failing."""
        dead = [program.name for program in self._supervisor.step()]
        self.deaths.update(dead)
        self.cut_short.update(dead)
        if misconfigured := self._supervisor.misconfigured_program():
            raise RunStuckError(f"{misconfigured.name} refused its settings: {_end_of_log(misconfigured)}")
        if failing := self._supervisor.failing_program():
            raise RunStuckError(f"{failing.name} keeps failing: {_end_of_log(failing)}")

    def stop(self) -> None:
        self.cut_short.update(stop_in_order(self._supervisor))

    def suspend(self, services: Collection[str] = SERVICES) -> None:
        """Stop all replicas of these services, until `resume`."""
        apart = Supervisor([])
        apart.children = [child for child in self.children if child.program.name.partition("-")[0] in services]
        for child in apart.children:
            child.restart_at_s = math.inf
        self.cut_short.update(stop_in_order(apart))

    def resume(self) -> None:
        """Let `step` start those that `suspend` has stopped."""
        for child in self.children:
            if math.isinf(child.restart_at_s):
                child.restart_at_s = 0.0


def stop_in_order(*supervisors: Supervisor) -> list[str]:
    """Stop all programs. Returns the names of those that did not end in order: killed before, or too slow."""
    children = [child for supervisor in supervisors for child in supervisor.children]
    running = [(child.program.name, child.process) for child in children if child.process is not None]
    stop_all(supervisors)
    return [name for name, process in running if process.returncode]


def _end_of_log(program: Program) -> str:
    return program.log.read_text()[-2000:]
