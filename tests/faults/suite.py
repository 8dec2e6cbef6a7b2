"""One schedule from its documents to its verdict: a serial run without faults, the same with them, and the oracle."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults import oracle
from tests.faults.days import write_archive
from tests.faults.inject import Injector
from tests.faults.report import Report
from tests.faults.schedule import Fault, Kind, Schedule
from tests.faults.world import Plan, Stuck, World

# Seconds between two documents: a stage keeps up easily, and every fault hits work in progress.
UNIT_S = 0.8

Say = Callable[[str], None]


@dataclass(frozen=True)
class Serial:
    """What a run without faults left, over which archive, and the model it trained."""

    archive: Path
    recorded: bool
    outcome: oracle.Outcome
    models: Path | None


@contextmanager
def folder(keep: bool = False) -> Iterator[Path]:
    """A temporary one; with `keep` it stays, for its logs."""
    path = Path(tempfile.mkdtemp(prefix="hr-faults-"))
    try:
        yield path
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


def serial_run(schedule: Schedule, directory: Path, *, predictions: bool, say: Say) -> Serial:
    """One replica of each, the embedded broker, no faults."""
    archive = directory / "archive"
    recorded = write_archive(archive, schedule.history, schedule.upcoming, schedule.venues)
    with World(directory / "serial", Plan(archive, {}, proxied=False)) as world:
        began_s = time.monotonic()
        world.start(schedule.history, schedule.first)
        world.settle()
        models = None
        if predictions:
            world.stop()
            models = world.train()
            world.start([schedule.upcoming], schedule.upcoming, results=False)
            world.settle()
        world.stop()
        with world.connect() as connection:
            outcome = oracle.read(connection, world.observer.broker, world.told())
        if models is not None:
            models = Path(shutil.copytree(models, directory / "models"))
        say(f"serial run without faults: {time.monotonic() - began_s:.0f} s")
    if wrong := oracle.problems(outcome, outcome):
        raise Stuck(f"the run without faults is wrong itself: {wrong}")
    return Serial(archive, recorded, outcome, models)


def faulty_run(
    schedule: Schedule, serial: Serial, directory: Path, say: Say, broken: tuple[str, str] | None = None
) -> Report:
    """The same days with the schedule's faults, compared. `broken`: a service and its kind of broken unit."""
    report = Report(schedule, serial.recorded)
    began_s = time.monotonic()
    wrapped = wrapped_in(schedule) | ({broken[0]} if broken else set())
    plan = Plan(serial.archive, schedule.replicas, wrapped, broken, schedule.broker)
    with World(directory, plan) as world:
        try:
            _pass(world, schedule, serial, report, say)
        except Stuck as stuck:
            report.problems.append(f"STUCK: {stuck}")
        world.stop()
        report.deaths = world.died
        with world.connect() as connection:
            report.outcome = oracle.read(connection, world.observer.broker, world.told())
    report.problems += oracle.problems(serial.outcome, report.outcome)
    report.judge()
    report.seconds = time.monotonic() - began_s
    return report


def wrapped_in(schedule: Schedule) -> frozenset[str]:
    """The paced fetcher, and whoever has a named point; all others run as they are."""
    every = (*schedule.faults, *schedule.late)
    return frozenset({"fetcher"} | {fault.service for fault in every if fault.kind is Kind.POINT})


def _pass(world: World, schedule: Schedule, serial: Serial, report: Report, say: Say) -> None:
    world.pace(UNIT_S)
    world.start(schedule.history, schedule.first)
    _hit(world, schedule.faults, report, say)
    world.pace(0)
    world.settle()
    if serial.models is not None:
        world.stop()
        world.take_model(serial.models)
        for fault in schedule.late:
            world.arm(fault.target, f"{fault.point}/{fault.nth}")
        world.start([schedule.upcoming], schedule.upcoming, results=False)
        world.settle()
        report.not_injected += [f"{fault} (late)" for fault in schedule.late if world.is_armed(fault.target)]


def _hit(world: World, faults: tuple[Fault, ...], report: Report, say: Say) -> None:
    """All faults in order; those for which the days did not suffice are counted."""
    injector = Injector(world, report.recoveries, say)
    empty = world.sample()
    world.wait(lambda: started(world, empty.ends), 60, "the first records of every stage")
    for fault in faults:
        if world.sample().drained:
            report.left_out += 1
            continue
        try:
            injector.inject(fault)
        except Stuck as stuck:
            report.not_injected.append(f"{fault}: {stuck}")


def started(world: World, _before: object) -> bool:
    """Whether every stage has handled something."""
    sample = world.observer.sample()
    return sample is not None and all(any(done.values()) for done in sample.done.values())
