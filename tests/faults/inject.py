"""The faults, done to a world. Each gives from when its recovery counts; what has to be undone later is undone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.errors import ConfigError
from shared.topics import SERVICES
from tests.faults.recovery import Recoveries, Sample, Took, is_back
from tests.faults.schedule import Fault, Kind
from tests.faults.world import World, replicas_of

# A stage that has not come back after this long will not be waited for; far above the limit that makes a run fail.
BACK_LIMIT_S = 60.0
FIRE_LIMIT_S = 20.0
START_LIMIT_S = 30.0
PIECE_DELAY_S = 0.05


class Injector:
    """Does one fault after the other, and waits for the recovery from each."""

    def __init__(self, world: World, recoveries: Recoveries, say: Callable[[str], None]) -> None:
        self._world = world
        self._recoveries = recoveries
        self._say = say
        self._do: dict[Kind, Callable[[Fault], None]] = {
            Kind.KILL: self._kill,
            Kind.STOP: self._stop,
            Kind.POINT: self._point,
            Kind.DATABASE_RESTART: lambda fault: self._database(fault, signal.SIGQUIT),
            Kind.DATABASE_KILL: lambda fault: self._database(fault, signal.SIGKILL),
            Kind.BROKER_RESTART: lambda fault: self._kafka(fault, self._world.own_kafka().stop),
            Kind.BROKER_KILL: lambda fault: self._kafka(fault, self._world.own_kafka().kill),
            Kind.CUT: self._cut,
            Kind.DELAY: self._delay,
            Kind.HOLE: self._hole,
            Kind.LOST_REPLY: self._lose_reply,
        }

    def inject(self, fault: Fault) -> None:
        self._world.rest(fault.after_s)
        self._do[fault.kind](fault)

    def _kill(self, fault: Fault) -> None:
        os.kill(self._pid(fault.target), signal.SIGKILL)
        self._watch(fault)

    def _stop(self, fault: Fault) -> None:
        """With a twin the partitions move while it is stopped; without, recovery counts from when it goes on."""
        pid = self._pid(fault.target)
        os.kill(pid, signal.SIGSTOP)
        until_s = time.monotonic() + fault.hold_s
        try:
            if self._world.plan.replicas.get(fault.service, 1) > 1:
                self._watch(fault)
            self._world.rest(until_s - time.monotonic())
        finally:
            os.kill(pid, signal.SIGCONT)
        self._watch(fault, kind="SIGCONT after the lease")

    def _point(self, fault: Fault) -> None:
        """Every replica of the service is armed, for only those that own something come by; one dies."""
        replicas = list(replicas_of(self._world.plan, fault.service))
        for replica in replicas:
            self._world.arm(replica, f"{fault.point}/{fault.nth}")

        def fired() -> bool:
            return not all(self._world.is_armed(replica) for replica in replicas)

        try:
            self._world.wait(fired, FIRE_LIMIT_S, f"{fault.service} to come by {fault.point}")
        finally:
            self._world.disarm(fault.service)
        self._watch(fault, kind=f"{fault.kind}: {fault.point}")

    def _database(self, fault: Fault, how: signal.Signals) -> None:
        """SIGQUIT is what `pg_ctl stop -m immediate` sends. Recovery counts from when the server answers again."""
        pid = self._world.server.pid()
        assert pid is not None, "the database is not running"
        os.kill(pid, how)
        self._world.wait(lambda: not self._world.server.accepts_connections(), START_LIMIT_S, "the database to be gone")
        self._beside(self._start_database, "the database to start")
        self._watch(fault)

    def _kafka(self, fault: Fault, end: Callable[[], None]) -> None:
        """Recovery counts from when it answers and every partition has its leader."""
        self._beside(end, "Kafka to end")
        self._beside(self._world.own_kafka().start, "Kafka to start")
        self._watch(fault)

    def _beside(self, work: Callable[[], object], what: str) -> None:
        """In a thread: what dies meanwhile is started again."""
        with ThreadPoolExecutor(1) as beside:
            done = beside.submit(work)
            self._world.wait(done.done, 2 * START_LIMIT_S, what)
            done.result()

    def _start_database(self) -> None:
        """Sessions of a killed server take a moment to notice; until they are gone it cannot start."""
        deadline_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self._world.server.start()
            except ConfigError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.2)
            else:
                return

    def _cut(self, fault: Fault) -> None:
        self._world.lines[fault.target].cut()
        self._watch(fault)

    def _delay(self, fault: Fault) -> None:
        """Recovery counts from the beginning: slow is not away."""
        line = self._world.lines[fault.target]
        line.slow_down(PIECE_DELAY_S)
        until_s = time.monotonic() + fault.hold_s
        try:
            self._watch(fault)
            self._world.rest(until_s - time.monotonic())
        finally:
            line.slow_down(0)

    def _hole(self, fault: Fault) -> None:
        """Recovery counts from the end of the hole."""
        line = self._world.lines[fault.target]
        line.block()
        try:
            self._world.rest(fault.hold_s)
        finally:
            line.unblock(cutting=fault.nth % 2 == 0)
        self._watch(fault)

    def _lose_reply(self, fault: Fault) -> None:
        line = self._world.lines[fault.target]
        before = line.replies_lost
        line.lose_reply()
        self._world.wait(lambda: line.replies_lost > before, FIRE_LIMIT_S, f"a commit of {fault.target} to lose")
        self._watch(fault)

    def _watch(self, fault: Fault, kind: str | None = None) -> None:
        """From now until the hit stage is back."""
        began_s = time.monotonic()
        before = self._world.sample()
        away = dict.fromkeys([fault.service] if fault.service else SERVICES, 0.0)
        back: dict[str, float] = {}
        while away.keys() - back.keys() and time.monotonic() - began_s < BACK_LIMIT_S:
            self._world.tick()
            now: Sample | None = self._world.observer.sample()
            if now is not None:
                took_s = time.monotonic() - began_s
                back |= {each: took_s for each in away.keys() - back.keys() if is_back(each, before, now)}
        took = None if away.keys() - back.keys() else max(back.values())
        self._recoveries.taken.append(Took(kind or str(fault.kind), str(fault), took))
        stages = ", ".join(f"{each} {back[each]:.2f}" if each in back else f"{each} NOT" for each in away)
        self._say(f"{fault}: back after s: {stages}")

    def _pid(self, target: str) -> int:
        """Of a replica that runs; one that has just died is waited for."""
        child = next(each for each in self._world.supervisor.children if each.program.name == target)
        self._world.wait(lambda: child.process is not None, START_LIMIT_S, f"{target} to run")
        assert child.process is not None
        return child.process.pid
