"""A short form of the fault suite: the whole pipeline with a few faults, and proof that the suite can fail.

`make faults` runs whole schedules; docs/faults.md describes them.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.faults.report import Report
from tests.faults.schedule import EMBEDDED, KAFKA, Fault, Kind, Point, Schedule
from tests.faults.suite import KEEP, ReferenceRun, faulty_run, reference_run, run_directory
from tests.kafka.jars import KafkaMissingError, jars, java
from tests.recorded_days import VARIABLE

pytestmark = pytest.mark.slow
FIRST = date(2026, 1, 10)
# Enough days for all faults on a slow machine; the remaining documents are fetched without pauses.
DAYS = 20
# Of each program, printed when a run fails.
WARNINGS_SHOWN = 40


def short_schedule(broker: str, *faults: Fault) -> Schedule:
    return Schedule(
        seed=0, broker=broker, first=FIRST, days=DAYS, venues=2, replicas={"cleaner": 2, "loader": 2}, faults=faults
    )


def kill_at(service: str, point: Point, nth: int = 1) -> Fault:
    return Fault(kind=Kind.POINT, target=f"{service}-0", after_s=0.1, point=point, nth=nth)


SHORT = {
    EMBEDDED: short_schedule(
        EMBEDDED,
        kill_at("loader", Point.BEFORE_COMMIT),
        kill_at("fetcher", Point.AFTER_COMMIT),
        Fault(kind=Kind.LOST_REPLY, target="cleaner", after_s=0.1),
        Fault(kind=Kind.DATABASE_KILL, target="database", after_s=0.1),
        Fault(kind=Kind.FAILOVER, target="database", after_s=0.1, hold_s=2.0),
    ),
    KAFKA: short_schedule(
        KAFKA,
        kill_at("cleaner", Point.BEFORE_COMMIT),
        Fault(kind=Kind.LOST_REPLY, target="fetcher-kafka", after_s=0.1),
        kill_at("loader", Point.AFTER_COMMIT),
        Fault(kind=Kind.BROKER_RESTART, target="kafka", after_s=0.1),
    ),
}


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with run_directory() as path:
        yield path


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == KAFKA:
        try:
            java(), jars()
        except KafkaMissingError as error:
            pytest.skip(str(error))
    yield request.param
    gc.collect()


@pytest.fixture(scope="module")
def reference(directory: Path) -> ReferenceRun:
    reference = reference_run(SHORT[EMBEDDED], directory, predictions=False, log=print)
    if not reference.recorded:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"synthetic days: set {VARIABLE} to the directory of recorded ones", stacklevel=1)
    return reference


def run(
    name: str, schedule: Schedule, reference: ReferenceRun, directory: Path, broken: tuple[str, str] | None = None
) -> Report:
    report = faulty_run(schedule, reference, directory / name, print, broken)
    print("\n".join(report.lines()))
    if wrong(report) and broken is None:
        print("\n".join(warnings_of(directory / name)))
        (directory / KEEP).touch()
        print(f"kept for a closer look: {directory / name}")
    return report


def wrong(report: Report) -> list[str]:
    """The problems of a run. `make faults` checks the recovery times: here other tests run on the same cores."""
    return [problem for problem in report.problems if not problem.startswith("SLOW")]


def warnings_of(directory: Path) -> Iterator[str]:
    """The newest warnings and errors in each log."""
    for log in sorted(directory.rglob("logs/*.log")):
        lines = [line for line in log.read_text(errors="replace").splitlines() if _is_evidence(line)]
        yield from (f"{log.name}: {line[:400]}" for line in lines[-WARNINGS_SHOWN:])


def _is_evidence(line: str) -> bool:
    """Not the many lines of the Kafka client about lost connections, but its exceptions."""
    return '"level":"info"' not in line and ('"logger":"kafka' not in line or '"exception"' in line)


# kafka-python does not close a socket whose connection was refused; garbage collection at the end of the test does.
ON_KAFKA = [pytest.mark.long, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]
BETWEEN = kill_at("cleaner", Point.BETWEEN_HALVES)


@pytest.mark.parametrize("broker", [EMBEDDED, pytest.param(KAFKA, marks=ON_KAFKA)], indirect=True)
def test_faults_do_not_change_the_result_of_the_pipeline(broker: str, reference: ReferenceRun, directory: Path) -> None:
    report = run(f"short-{broker}", SHORT[broker], reference, directory)

    assert wrong(report) == []
    assert len(report.recoveries.measured) == len(SHORT[broker].faults)
    assert report.outcome is not None
    assert report.outcome.ledger


@pytest.mark.parametrize(
    ("broker", "broken", "faults"),
    [
        (EMBEDDED, "advance-first", [BETWEEN]),
        pytest.param(EMBEDDED, "commit-ignored", [], marks=pytest.mark.long),
        pytest.param(KAFKA, "commit-ignored", [], marks=ON_KAFKA),
    ],
    indirect=["broker"],
)
def test_the_suite_detects_a_broken_unit(
    broker: str, reference: ReferenceRun, directory: Path, broken: str, faults: list[Fault]
) -> None:
    report = run(f"{broken}-{broker}", short_schedule(broker, *faults), reference, directory, ("cleaner", broken))

    assert any(problem.startswith("LOST in clean-events") for problem in report.problems)


@pytest.mark.long
@pytest.mark.parametrize("broker", [EMBEDDED], indirect=True)
def test_the_suite_detects_a_notifier_that_leaves_every_message_to_an_operator(
    broker: str, reference: ReferenceRun, directory: Path
) -> None:
    report = run("parks-all", short_schedule(broker), reference, directory, ("notifier", "parks-all"))

    assert any(problem.startswith("NOTIFICATIONS UNDECIDED") for problem in report.problems)
