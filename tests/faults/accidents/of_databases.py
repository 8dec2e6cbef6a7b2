"""Accidents of the database, of the disks and of the clock."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from shared.topics import LOADED, SERVICES
from tests.faults.accidents import database_copy
from tests.faults.accidents.database_settings import (
    ConnectionHog,
    admin,
    end_slow_inserts,
    has_services,
    set_read_only,
    slow_down_inserts,
)
from tests.faults.accidents.operator import Operator
from tests.faults.accidents.service_metrics import large_batches
from tests.faults.programs import replicas_of
from tests.faults.recovery_meter import RecoveryMeter
from tests.faults.report import Report
from tests.faults.schedule import KAFKA, Fault, Kind
from tests.faults.supply import UNIT_S
from tests.faults.world import START_LIMIT_S, World

Action = Callable[[Fault], None]
DAY_S = 86_400
EVIDENCE_LIMIT_S, GROWTH_LIMIT_S, COMMAND_LIMIT_S = 120.0, 120.0, 300.0
# How many documents come while batches must grow, and how much faster.
MORE_DOCUMENTS, FASTER = 24, 8
# Of one new version. A document of four venues has 48 facts, so a batch of it exceeds the limit of three seconds.
SLOW_INSERT_S = 0.3
# Of a batch, before any time-out.
MAX_RECORDS = 2000
NO_SPACE = "No space left on device"
_NEXT_RECORDS = re.compile(rb'"next_records": ?(\d+)')


def database_accidents(world: World, meter: RecoveryMeter, report: Report) -> Mapping[Kind, Action]:
    copies, states = _Copies(world, meter, report), _States(world, meter, report)
    return {
        Kind.RESTORE: copies.restore,
        Kind.FAILOVER: copies.fail_over,
        Kind.READ_ONLY: states.read_only,
        Kind.DATABASE_FULL: states.database_full,
        Kind.ARCHIVE_FULL: states.archive_full,
        Kind.SLOW: states.slow,
        Kind.CLOCK: states.clock,
        Kind.CONNECTIONS: states.connections,
    }


class _Copies:
    """An earlier state of the database comes back."""

    def __init__(self, world: World, meter: RecoveryMeter, report: Report) -> None:
        self._world = world
        self._meter = meter
        self._report = report
        self._operator = Operator(world.data_dir, world.broker_url)
        self._number = 0

    def restore(self, fault: Fault) -> None:
        """By the commands, while the services are stopped. Recovery is measured from their start."""
        world, backup, received = self._world, self._new_path("backup.tar"), self._world.received()
        world.work(lambda: self._operator.back_up(backup), COMMAND_LIMIT_S, "the backup")
        world.rest(fault.hold_s)
        world.replicas.suspend()
        try:
            with admin(world.access) as connection:
                world.wait(lambda: not has_services(connection), EVIDENCE_LIMIT_S, "the end of the services' sessions")
            world.disconnect()
            world.work(lambda: self._operator.restore(backup), COMMAND_LIMIT_S, "the restore")
        finally:
            world.reconnect()
            before, began_s = world.sample(), time.monotonic()
            world.replicas.resume()
        self._meter.await_recovery(fault, before=before, began_s=began_s)
        went_back(world, self._report, received)

    def fail_over(self, fault: Fault) -> None:
        """While everything runs: the server is gone, and one that lacks the last commits takes its place. Recovery is
        measured from the first connection that it accepts."""
        world, copy, received = self._world, self._new_path("standby"), self._world.received()
        database_copy.copy_running(world.server, copy)
        world.rest(fault.hold_s)
        database_copy.lose(world.server)
        database_copy.replace(world.server, copy)
        world.work(world.start_killed_server, 2 * START_LIMIT_S, "the standby to start")
        self._meter.await_recovery(fault)
        went_back(world, self._report, received)

    def _new_path(self, name: str) -> Path:
        self._number += 1
        return self._world.control_dir / f"{self._number}-{name}"


def went_back(world: World, report: Report, received_then: Counter[str]) -> None:
    """What arrived since may arrive again: also what a sender had in hand, so this is called after the recovery.
    On Kafka, what the outbox holds is relayed a second time."""
    senders = len(list(replicas_of(world.plan, "notifier")))
    report.allowance.went_back(received_then, world.received(), senders)
    if world.plan.broker == KAFKA:
        report.allowance.repeats[LOADED] += 1
    world.release_messages()


class _States:
    """The database, a disk or the clock is in a bad state for a while. Recovery is measured from its end."""

    def __init__(self, world: World, meter: RecoveryMeter, report: Report) -> None:
        self._world = world
        self._meter = meter
        self._report = report

    def read_only(self, fault: Fault) -> None:
        set_read_only(self._world.access, True)
        try:
            self._world.rest(fault.hold_s)
        finally:
            set_read_only(self._world.access, False)
        self._meter.await_recovery(fault)

    def database_full(self, fault: Fault) -> None:
        """PostgreSQL may survive it or not: if it had no space for its WAL, it is started again. Its log is on the disk
        and may lack the complaint: the services log it too."""
        services = [log for service in SERVICES for log in self._logs_of(service)]
        self._fill(fault, [self._world.server.pgdata / "server.log", *services])
        self._world.work(self._world.start_killed_server, 2 * START_LIMIT_S, "the database to start")
        self._meter.await_recovery(fault)

    def archive_full(self, fault: Fault) -> None:
        self._fill(fault, self._logs_of("fetcher"))
        self._meter.await_recovery(fault)

    def slow(self, fault: Fault) -> None:
        """Batches must shrink until they are within the limit, and grow again."""
        world, logs = self._world, self._logs_of("loader")
        known = len(_shrunk_sizes(logs))
        slow_down_inserts(world.access, SLOW_INSERT_S)
        try:
            world.wait(lambda: len(_shrunk_sizes(logs)) > known, EVIDENCE_LIMIT_S, "a smaller batch of the loader")
            world.rest(fault.hold_s)
        finally:
            end_slow_inserts(world.access)
        smallest = min(_shrunk_sizes(logs)[known:])
        self._meter.await_recovery(fault)
        self._await_larger_batches(smallest)

    def _await_larger_batches(self, records: int) -> None:
        """With more work than usual, so that there are records for them."""
        world = self._world

        def count() -> float:
            with world.connect() as connection:
                return large_batches(connection, "loader", records)

        before = count()
        world.supply.resume(MORE_DOCUMENTS, UNIT_S / FASTER)
        world.wait(lambda: count() > before, GROWTH_LIMIT_S, f"batches of more than {records} records")

    def clock(self, fault: Fault) -> None:
        """A day forwards or back, and then right again. Recovery is measured from both jumps."""
        clock = self._world.clock
        assert clock is not None, "the clock of this world cannot be set"
        what = "clock of machine and database" if clock.is_of_the_machine else "injected clock of the services"
        clock.jump(DAY_S if fault.nth % 2 else -DAY_S)
        self._meter.await_recovery(fault, kind=f"{fault.kind} ({what})")
        self._world.rest(fault.hold_s)
        clock.jump(0)
        self._meter.await_recovery(fault, kind=f"{fault.kind} ({what}), and is set right")
        if clock.is_of_the_machine:  # a lease of the database may have ended while its sender had a message in hand
            self._report.allowance.undecided += 2 * len(list(replicas_of(self._world.plan, "notifier")))

    def connections(self, fault: Fault) -> None:
        hog = ConnectionHog(self._world.access, self._world.server)

        try:
            self._world.wait(hog.take_all, EVIDENCE_LIMIT_S, "services without a connection")
            self._world.rest(fault.hold_s)
        finally:
            hog.release()
        self._meter.await_recovery(fault)

    def _fill(self, fault: Fault, logs: list[Path]) -> None:
        """Fill the disk, until a program has complained and for `hold_s` more."""
        disk, known = self._world.disks[fault.kind], _count(logs, NO_SPACE)
        try:
            disk.fill()
            self._world.wait(lambda: _count(logs, NO_SPACE) > known, EVIDENCE_LIMIT_S, f"{NO_SPACE!r} in a log")
            self._world.rest(fault.hold_s)
        finally:
            disk.free()

    def _logs_of(self, service: str) -> list[Path]:
        return [self._world.data_dir.log(replica) for replica in replicas_of(self._world.plan, service)]


def _count(logs: list[Path], text: str) -> int:
    return sum(log.read_text(errors="replace").count(text) for log in logs if log.exists())


def _shrunk_sizes(logs: list[Path]) -> list[int]:
    """The sizes of batches after time-outs, from the logs."""
    lines = [line for log in logs if log.exists() for line in log.read_bytes().splitlines() if b"step_failed" in line]
    sizes = [int(found[1]) for line in lines if (found := _NEXT_RECORDS.search(line))]
    return [size for size in sizes if size < MAX_RECORDS]
