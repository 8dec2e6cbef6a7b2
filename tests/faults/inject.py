"""Injects faults into a running pipeline, undoes those that last, and measures the recovery from each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.faults.accidents.of_databases import database_accidents
from tests.faults.accidents.of_logs import log_accidents
from tests.faults.programs import replicas_of
from tests.faults.recovery_meter import RecoveryMeter
from tests.faults.report import Report
from tests.faults.schedule import Fault, Kind
from tests.faults.world import World

# A busy machine must not exceed them.
FIRE_LIMIT_S, START_LIMIT_S = 120.0, 90.0
PIECE_DELAY_S = 0.05


class Injector:
    """Injects one fault after the other, and waits for the recovery from each."""

    def __init__(self, world: World, report: Report, log: Callable[[str], None]) -> None:
        self._world = world
        self._meter = RecoveryMeter(world, report.recoveries, log)
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
            **database_accidents(world, self._meter, report),
            **log_accidents(world, self._meter, report),
        }

    def inject(self, fault: Fault) -> None:
        self._world.rest(fault.after_s)
        self._actions[fault.kind](fault)

    def _kill(self, fault: Fault) -> None:
        os.kill(self._pid(fault.target), signal.SIGKILL)
        self._meter.await_recovery(fault)

    def _stop(self, fault: Fault) -> None:
        """Recovery is measured from the continuation, and with a second replica also from the stop."""
        pid = self._pid(fault.target)
        os.kill(pid, signal.SIGSTOP)
        until_s = time.monotonic() + fault.hold_s
        try:
            if self._world.plan.replicas.get(fault.service, 1) > 1:
                self._meter.await_recovery(fault)
            self._world.rest(until_s - time.monotonic())
        finally:
            os.kill(pid, signal.SIGCONT)
        self._meter.await_recovery(fault, kind="SIGCONT after the lease")

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
        self._meter.await_recovery(fault, kind=f"{fault.kind}: {fault.point}")

    def _database(self, fault: Fault, signal_: signal.Signals) -> None:
        """`pg_ctl stop -m immediate` sends SIGQUIT. Recovery is measured from the first accepted connection."""
        pid = self._world.server.pid()
        assert pid is not None, "the database is not running"
        os.kill(pid, signal_)
        self._world.wait(lambda: not self._world.server.accepts_connections(), START_LIMIT_S, "the database to be gone")
        self._world.work(self._world.start_killed_server, 2 * START_LIMIT_S, "the database to start")
        self._meter.await_recovery(fault)

    def _kafka(self, fault: Fault, stop_kafka: Callable[[], None]) -> None:
        """Recovery is measured from the time at which Kafka answers and every partition has a leader."""
        began_s = time.monotonic()
        self._world.work(stop_kafka, 2 * START_LIMIT_S, "Kafka to end")
        self._world.work(self._world.required_kafka().start, 2 * START_LIMIT_S, "Kafka to start")
        # Near the time-out of a transaction (60 s), aborted records may become visible: docs/promises.md, ghosts.
        self._log(f"Kafka was away for {time.monotonic() - began_s:.1f} s")
        self._meter.await_recovery(fault)

    def _cut(self, fault: Fault) -> None:
        self._world.proxies[fault.target].cut()
        self._meter.await_recovery(fault)

    def _delay(self, fault: Fault) -> None:
        """Recovery is measured from the beginning of the delay."""
        proxy = self._world.proxies[fault.target]
        proxy.slow_down(PIECE_DELAY_S)
        until_s = time.monotonic() + fault.hold_s
        try:
            self._meter.await_recovery(fault)
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
        self._meter.await_recovery(fault)

    def _lose_reply(self, fault: Fault) -> None:
        proxy = self._world.proxies[fault.target]
        before = proxy.replies_lost
        proxy.lose_reply()
        self._world.wait(
            lambda: proxy.replies_lost > before, FIRE_LIMIT_S, f"a commit of {fault.target} whose reply is lost"
        )
        self._meter.await_recovery(fault)

    def _pid(self, target: str) -> int:
        """The pid of a replica; waits for the restart of one that has just died."""
        child = next(each for each in self._world.replicas.children if each.program.name == target)
        self._world.wait(lambda: child.process is not None, START_LIMIT_S, f"{target} to run")
        assert child.process is not None
        return child.process.pid
