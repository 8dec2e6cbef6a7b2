"""Injects faults into a running pipeline, undoes those that last, and measures the recovery from each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.errors import ConfigError
from shared.topics import SERVICES
from tests.faults.recovery import Recoveries, Recovery, Sample, has_recovered
from tests.faults.schedule import Fault, Kind
from tests.faults.world import World, replicas_of

# How long the recovery of a stage is awaited; far above the limit that makes a run fail.
RECOVERY_LIMIT_S = 60.0
FIRE_LIMIT_S = 20.0
START_LIMIT_S = 30.0
PIECE_DELAY_S = 0.05


class Injector:
    """Injects one fault after the other, and waits for the recovery from each."""

    def __init__(self, world: World, recoveries: Recoveries, log: Callable[[str], None]) -> None:
        self._world = world
        self._recoveries = recoveries
        self._log = log
        self._actions: dict[Kind, Callable[[Fault], None]] = {
            Kind.KILL: self._kill,
            Kind.STOP: self._stop,
            Kind.POINT: self._point,
            Kind.DATABASE_RESTART: lambda fault: self._database(fault, signal.SIGQUIT),
            Kind.DATABASE_KILL: lambda fault: self._database(fault, signal.SIGKILL),
            Kind.BROKER_RESTART: lambda fault: self._kafka(fault, self._world.required_kafka().stop),
            Kind.BROKER_KILL: lambda fault: self._kafka(fault, self._world.required_kafka().kill),
            Kind.CUT: self._cut,
            Kind.DELAY: self._delay,
            Kind.BLOCK: self._block,
            Kind.LOST_REPLY: self._lose_reply,
        }

    def inject(self, fault: Fault) -> None:
        self._world.rest(fault.after_s)
        self._actions[fault.kind](fault)

    def _kill(self, fault: Fault) -> None:
        os.kill(self._pid(fault.target), signal.SIGKILL)
        self._await_recovery(fault)

    def _stop(self, fault: Fault) -> None:
        """Recovery is measured from the continuation, and with a second replica also from the stop."""
        pid = self._pid(fault.target)
        os.kill(pid, signal.SIGSTOP)
        until_s = time.monotonic() + fault.hold_s
        try:
            if self._world.plan.replicas.get(fault.service, 1) > 1:
                self._await_recovery(fault)
            self._world.rest(until_s - time.monotonic())
        finally:
            os.kill(pid, signal.SIGCONT)
        self._await_recovery(fault, kind="SIGCONT after the lease")

    def _point(self, fault: Fault) -> None:
        """Arms every replica of the service, because only those that own partitions reach the point; one dies."""
        replicas = list(replicas_of(self._world.plan, fault.service))
        for replica in replicas:
            self._world.arm(replica, f"{fault.point}/{fault.nth}")

        def fired() -> bool:
            return not all(self._world.is_armed(replica) for replica in replicas)

        try:
            self._world.wait(fired, FIRE_LIMIT_S, f"{fault.service} to reach {fault.point}")
        finally:
            self._world.disarm(fault.service)
        self._await_recovery(fault, kind=f"{fault.kind}: {fault.point}")

    def _database(self, fault: Fault, signal_: signal.Signals) -> None:
        """`pg_ctl stop -m immediate` sends SIGQUIT. Recovery is measured from the first accepted connection."""
        pid = self._world.server.pid()
        assert pid is not None, "the database is not running"
        os.kill(pid, signal_)
        self._world.wait(lambda: not self._world.server.accepts_connections(), START_LIMIT_S, "the database to be gone")
        self._in_thread(self._start_database, "the database to start")
        self._await_recovery(fault)

    def _kafka(self, fault: Fault, stop_kafka: Callable[[], None]) -> None:
        """Recovery is measured from the time at which Kafka answers and every partition has a leader."""
        began_s = time.monotonic()
        self._in_thread(stop_kafka, "Kafka to end")
        self._in_thread(self._world.required_kafka().start, "Kafka to start")
        # Near the time-out of a transaction (60 s), aborted records may become visible: docs/promises.md, ghosts.
        self._log(f"Kafka was away for {time.monotonic() - began_s:.1f} s")
        self._await_recovery(fault)

    def _in_thread(self, work: Callable[[], object], what: str) -> None:
        """In a thread, so that programs that die meanwhile are restarted."""
        with ThreadPoolExecutor(1) as executor:
            future = executor.submit(work)
            self._world.wait(future.done, 2 * START_LIMIT_S, what)
            future.result()

    def _start_database(self) -> None:
        """Retries, because the server cannot start until all sessions of the killed one have ended."""
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
        self._world.proxies[fault.target].cut()
        self._await_recovery(fault)

    def _delay(self, fault: Fault) -> None:
        """Recovery is measured from the beginning of the delay."""
        proxy = self._world.proxies[fault.target]
        proxy.slow_down(PIECE_DELAY_S)
        until_s = time.monotonic() + fault.hold_s
        try:
            self._await_recovery(fault)
            self._world.rest(until_s - time.monotonic())
        finally:
            proxy.slow_down(0)

    def _block(self, fault: Fault) -> None:
        """Recovery is measured from the end of the block."""
        proxy = self._world.proxies[fault.target]
        proxy.block()
        try:
            self._world.rest(fault.hold_s)
        finally:
            proxy.unblock(cut=fault.nth % 2 == 0)
        self._await_recovery(fault)

    def _lose_reply(self, fault: Fault) -> None:
        proxy = self._world.proxies[fault.target]
        before = proxy.replies_lost
        proxy.lose_reply()
        self._world.wait(
            lambda: proxy.replies_lost > before, FIRE_LIMIT_S, f"a commit of {fault.target} whose reply is lost"
        )
        self._await_recovery(fault)

    def _await_recovery(self, fault: Fault, kind: str | None = None) -> None:
        """Measure the recovery of the affected stages from now on."""
        began_s = time.monotonic()
        before = self._world.sample()
        stages_hit = [fault.service] if fault.service else list(SERVICES)
        recovered_s: dict[str, float] = {}
        while len(recovered_s) < len(stages_hit) and time.monotonic() - began_s < RECOVERY_LIMIT_S:
            self._world.tick()
            now: Sample | None = self._world.observer.sample()
            if now is not None:
                elapsed_s = time.monotonic() - began_s
                missing = [each for each in stages_hit if each not in recovered_s]
                recovered_s |= {each: elapsed_s for each in missing if has_recovered(each, before, now)}
        seconds = max(recovered_s.values()) if len(recovered_s) == len(stages_hit) else None
        self._recoveries.measured.append(Recovery(kind or str(fault.kind), str(fault), seconds))
        stages = ", ".join(
            f"{each} {recovered_s[each]:.2f} s" if each in recovered_s else f"{each} NOT" for each in stages_hit
        )
        self._log(f"{fault}: recovered after: {stages}")

    def _pid(self, target: str) -> int:
        """The pid of a replica; waits for the restart of one that has just died."""
        child = next(each for each in self._world.supervisor.children if each.program.name == target)
        self._world.wait(lambda: child.process is not None, START_LIMIT_S, f"{target} to run")
        assert child.process is not None
        return child.process.pid
