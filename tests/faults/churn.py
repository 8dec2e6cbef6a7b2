"""Starts, stops and kills replicas at random, without settings for their slots, and checks that each has its own."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from itertools import count
from pathlib import Path

from headrace.processes.supervisor import Child, Program, Supervisor
from shared.topics import READS, SERVICES
from tests.faults import oracle
from tests.faults.allowance import Allowance
from tests.faults.days import FEEDS
from tests.faults.errors import RunStuckError
from tests.faults.late_answers import answered_late
from tests.faults.programs import Plan
from tests.faults.replicas import stop_in_order
from tests.faults.schedule import EMBEDDED, Schedule
from tests.faults.suite import STARTED_LIMIT_S, Log, ReferenceRun, reference_run, started
from tests.faults.world import World

MAX_REPLICAS = 6
# Far above the lease and the session of 10 s: the machine may be slow.
SHARED_LIMIT_S = 90.0
PAUSE_S = (0.1, 1.5)
LIVE = "SELECT pid, service, coalesce((detail ->> 'partitions')::int, 0) FROM ops.replicas WHERE state <> 'stopped'"


class Churn:
    """The replicas that a world has beside the first one of each service. One that was killed is started again after a
    pause, as an orchestrator does; one that was stopped is not."""

    def __init__(self, world: World, seed: int) -> None:
        self.kills: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()
        # Beside the deaths: those that were too slow when they were stopped, or were killed before.
        self._cut_short: Counter[str] = Counter()
        self._world = world
        self._rng = random.Random(seed)
        self._numbers = count(1)
        self._templates = {child.program.name.partition("-")[0]: child.program for child in world.replicas.children}
        self._supervisors: dict[str, Supervisor] = {}

    def act(self) -> str:
        """One random action. Returns it as text."""
        service = self._rng.choice(SERVICES)
        names = [name for name in self._supervisors if name.partition("-")[0] == service]
        actions: list[Callable[[], str]] = [lambda: self._kill(service)]
        if len(names) + 1 < MAX_REPLICAS:
            actions += [lambda: self._start(service)] * 3
        if names:
            actions.append(lambda: self._stop(self._rng.choice(names)))
        return self._rng.choice(actions)()

    def rest(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.tick()

    def tick(self) -> None:
        self._world.tick()
        for supervisor in self._supervisors.values():
            self.deaths.update(program.name for program in supervisor.step())

    def wait_until_shared(self) -> float:
        """Wait until every process has a slot of its own and every replica that reads topics owns partitions. Returns
        the seconds until then."""
        began_s = time.monotonic()
        while waiting := self._waiting():
            if time.monotonic() - began_s > SHARED_LIMIT_S:
                raise RunStuckError(f"the work is not shared within {SHARED_LIMIT_S:g} s: {', '.join(waiting)}")
            self.tick()
        return time.monotonic() - began_s

    def problems(self) -> list[str]:
        """Processes that ended without being killed, for example because another replica had their slot."""
        return [f"ENDED BY ITSELF: {name}, {times} times" for name, times in (self._all_deaths() - self.kills).items()]

    def cut_short(self) -> Counter[str]:
        """How often each replica did not end in order."""
        return self.deaths + self._cut_short + self._world.replicas.cut_short

    def close(self) -> None:
        self._cut_short.update(stop_in_order(*self._supervisors.values()))

    def _all_deaths(self) -> Counter[str]:
        return self.deaths + self._world.replicas.deaths

    def _start(self, service: str) -> str:
        template = self._templates[service]
        name = f"{service}-x{next(self._numbers)}"
        program = Program(name, template.command, template.log.with_name(f"{name}.log"), template.environment)
        self._supervisors[name] = Supervisor([program])
        self._supervisors[name].start()
        return f"start {name}"

    def _stop(self, name: str) -> str:
        self._cut_short.update(stop_in_order(self._supervisors.pop(name)))
        return f"stop {name}"

    def _kill(self, service: str) -> str:
        running = [
            child
            for child in self._children()
            if child.program.name.partition("-")[0] == service and child.process is not None
        ]
        if not running:
            return "nothing"
        chosen = self._rng.choice(running)
        assert chosen.process is not None
        if chosen.process.poll() is None:
            chosen.process.send_signal(signal.SIGKILL)
            self.kills[chosen.program.name] += 1
        return f"kill {chosen.program.name}"

    def _children(self) -> list[Child]:
        started = [child for each in self._supervisors.values() for child in each.children]
        return [*self._world.replicas.children, *started]

    def _waiting(self) -> list[str]:
        """The processes that have no slot or no work yet. Two with one slot would have one row."""
        with self._world.connect() as connection:
            rows = {pid: (service, partitions) for pid, service, partitions in connection.execute(LIVE)}
        waiting = []
        for child in self._children():
            service, partitions = rows.get(child.process.pid if child.process else 0, ("", 0))
            if not service or (READS[service] and not partitions):
                waiting.append(child.program.name)
        return waiting


def churn(broker: str, directory: Path, seed: int, actions: int, log: Log) -> list[str]:
    """Process recorded days under churn, and without. Returns the problems; none if the results are equal."""
    # A day of two venues takes about 2.5 s at the fetcher's pace, an action 0.8 s.
    days = 8 + actions // 3
    schedule = Schedule(
        seed=seed, broker=EMBEDDED, first=date(2026, 2, 1), days=min(days, 55), venues=2, replicas={}, faults=()
    )
    reference = reference_run(schedule, directory, predictions=False, log=log)
    plan = Plan(reference.archive, {}, frozenset({"fetcher"}), broker=broker, claims_slots=True)
    with World(directory / "churn", plan) as world:
        return _run(world, reference, schedule.history, seed, actions, log)


def _run(world: World, reference: ReferenceRun, days: list[date], seed: int, actions: int, log: Log) -> list[str]:
    documents = len(FEEDS) * len(days)
    world.supply.limit(documents)
    world.supply.resume(documents)
    world.start(days, days[0])
    churn = Churn(world, seed)
    rng = random.Random(seed)
    try:
        world.wait(lambda: started(world), STARTED_LIMIT_S, "the first records of every stage")
        for _ in range(actions):
            log(churn.act())
            churn.rest(rng.uniform(*PAUSE_S))
        log(f"the work was shared after {churn.wait_until_shared():.1f} s")
        world.supply.lift()
        world.settle()
    except RunStuckError as stuck:
        return [f"STUCK: {stuck}", *churn.problems()]
    finally:
        churn.close()
        world.replicas.stop()
    with world.connect() as connection:
        world.history.read(world.observer.broker)
        outcome = oracle.read(connection, world.history, world.received())
    allowance = Allowance(answered_late=answered_late(world.logs_of("notifier")))
    allowance.senders_ended(churn.cut_short())
    return churn.problems() + oracle.differences(reference.outcome, outcome, allowance)
