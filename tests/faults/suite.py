"""Runs one schedule: a reference run without faults, the same days with faults, and the comparison of the results."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from shared.errors import HeadraceError
from shared.topics import SERVICES
from tests.faults import oracle
from tests.faults.accidents.jumping_clock import libfaketime_for
from tests.faults.accidents.of_predictions import PredictedDay
from tests.faults.accidents.operator import CommandFailedError
from tests.faults.days import FEEDS, write_archive
from tests.faults.errors import RunStuckError
from tests.faults.inject import Injector
from tests.faults.late_answers import answered_late
from tests.faults.programs import Plan
from tests.faults.report import Report
from tests.faults.schedule import Fault, Kind, Schedule
from tests.faults.training import copy_model, train
from tests.faults.world import World

# From the start of the processes. A busy machine must not exceed it.
STARTED_LIMIT_S = 240.0
# A file with this name keeps the directory of a run.
KEEP = "keep"

Log = Callable[[str], None]


@dataclass(frozen=True)
class ReferenceRun:
    """The result of a run without faults, its archive, and the model that it trained."""

    archive: Path
    recorded: bool
    outcome: oracle.Outcome
    models: Path | None


@contextmanager
def run_directory(keep: bool = False) -> Iterator[Path]:
    """A temporary directory. It is kept, with its logs and databases, if `keep` is true or KEEP is in it."""
    path = Path(tempfile.mkdtemp(prefix="hr-faults-"))
    try:
        yield path
    finally:
        if not keep and not (path / KEEP).exists():
            shutil.rmtree(path, ignore_errors=True)


def reference_run(schedule: Schedule, directory: Path, *, predictions: bool, log: Log) -> ReferenceRun:
    """Run one replica of each service on the embedded broker, without faults."""
    archive = directory / "archive"
    recorded = write_archive(archive, schedule.history, schedule.upcoming, schedule.venues)
    with World(directory / "reference", Plan(archive, {}, proxied=False)) as world:
        began_s = time.monotonic()
        world.start(schedule.history, schedule.first)
        world.settle()
        models = None
        if predictions:
            world.replicas.stop()
            models = train(world)
            world.start([schedule.upcoming], schedule.upcoming, results=False)
            world.settle()
        world.replicas.stop()
        with world.connect() as connection:
            world.history.read(world.observer.broker)
            outcome = oracle.read(connection, world.history, world.received())
        if models is not None:
            models = Path(shutil.copytree(models, directory / "models"))
        log(f"reference run without faults: {time.monotonic() - began_s:.0f} s")
    if differences := oracle.differences(outcome, outcome):
        raise RunStuckError(f"the reference run has differences to itself: {differences}")
    return ReferenceRun(archive, recorded, outcome, models)


def faulty_run(
    schedule: Schedule, reference: ReferenceRun, directory: Path, log: Log, broken: tuple[str, str] | None = None
) -> Report:
    """Run the same days with the schedule's faults, and compare. `broken`: a service and its kind of broken unit."""
    report = Report(schedule, reference.recorded)
    began_s = time.monotonic()
    wrapped = services_to_wrap(schedule) | ({broken[0]} if broken else set())
    plan = Plan(reference.archive, schedule.replicas, wrapped, broken, schedule.broker, kinds=schedule.kinds)
    with World(directory, plan) as world:
        try:
            _run_days(world, schedule, reference, report, log)
        except RunStuckError as stuck:
            report.problems.append(f"STUCK: {stuck}")
            world.start_killed_server()  # a fault may have ended it
        world.replicas.stop()
        report.deaths = world.replicas.deaths
        report.allowance.senders_ended(world.replicas.cut_short)
        report.allowance.answered_late = answered_late(world.logs_of("notifier"))
        with world.connect() as connection:
            world.history.read(world.observer.broker)
            report.outcome = oracle.read(connection, world.history, world.received())
    report.problems += oracle.differences(reference.outcome, report.outcome, report.allowance)
    report.add_problems()
    report.seconds = time.monotonic() - began_s
    return report


def services_to_wrap(schedule: Schedule) -> frozenset[str]:
    """The fetcher, for its permits, and the services with a named point; all others run unchanged. All services, if
    their clock is injected."""
    faults = (*schedule.faults, *schedule.late)
    if Kind.CLOCK in schedule.kinds and libfaketime_for(schedule.broker) is None:
        return frozenset(SERVICES)
    return frozenset({"fetcher"} | {fault.service for fault in faults if fault.kind is Kind.POINT})


def _run_days(world: World, schedule: Schedule, reference: ReferenceRun, report: Report, log: Log) -> None:
    world.supply.limit(len(FEEDS) * schedule.days)
    world.start(schedule.history, schedule.first)
    _inject_all(world, schedule.faults, report, log)
    world.supply.lift()
    world.settle()
    if reference.models is not None:
        world.replicas.stop()
        copy_model(world, reference.models)
        _run_predicted_day(world, schedule, report, log)


def _run_predicted_day(world: World, schedule: Schedule, report: Report, log: Log) -> None:
    fails_over = any(fault.kind is Kind.FAILOVER for fault in schedule.late)
    predicted_day = PredictedDay(world) if fails_over else None
    points = [fault for fault in schedule.late if fault.kind is Kind.POINT]
    for fault in points:
        world.arm(fault.target, f"{fault.point}/{fault.nth}")
    world.start([schedule.upcoming], schedule.upcoming, results=False)
    world.settle()
    report.not_injected += [f"{fault} (late)" for fault in points if world.is_armed(fault.target)]
    if predicted_day is not None:
        for fault in points:
            world.disarm(fault.service)
        predicted_day.lose(report)
        log("the predicted day was lost with the database, and is complete again")


def _inject_all(world: World, faults: tuple[Fault, ...], report: Report, log: Log) -> None:
    """Inject all faults in order. Those that remain when the source is drained are counted."""
    injector = Injector(world, report, log)
    world.supply.begin(len(faults) + 1)
    world.wait(lambda: started(world), STARTED_LIMIT_S, "the first records of every stage")
    for number, fault in enumerate(faults):
        world.supply.begin(len(faults) - number)
        if world.sample().drained:
            report.skip(fault)
            continue
        try:
            injector.inject(fault)
        except (RunStuckError, CommandFailedError, HeadraceError, AssertionError, OSError, psycopg.Error) as error:
            report.not_injected.append(f"{fault}: {type(error).__name__}: {error}")
            world.replicas.resume()


def started(world: World) -> bool:
    """Whether every stage has committed something."""
    sample = world.observer.sample()
    return sample is not None and all(any(committed.values()) for committed in sample.committed.values())
