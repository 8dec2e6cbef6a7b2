"""The fault suite in short: the whole pipeline under a few faults, and the suite's own ability to fail.

`make faults` runs whole schedules; docs/faults.md says how to read them.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.faults.report import Report
from tests.faults.schedule import EMBEDDED, KAFKA, Fault, Kind, Point, Schedule, made
from tests.faults.suite import Serial, faulty_run, folder, serial_run
from tests.kafka.jars import KafkaMissingError, jars, java
from tests.recorded_days import VARIABLE

pytestmark = pytest.mark.slow
FIRST = date(2026, 1, 10)
# Documents for longer than the faults take on a slow machine; the rest is fetched without pauses.
DAYS = 20


def schedule(broker: str, *faults: Fault) -> Schedule:
    return Schedule(
        seed=0, broker=broker, first=FIRST, days=DAYS, venues=2, replicas={"cleaner": 2, "loader": 2}, faults=faults
    )


def point(service: str, named: Point, nth: int = 1) -> Fault:
    return Fault(kind=Kind.POINT, target=f"{service}-0", after_s=0.1, point=named, nth=nth)


SHORT = {
    EMBEDDED: schedule(
        EMBEDDED,
        point("loader", Point.BEFORE_COMMIT),
        point("fetcher", Point.AFTER_COMMIT),
        Fault(kind=Kind.LOST_REPLY, target="cleaner", after_s=0.1),
        Fault(kind=Kind.DATABASE_KILL, target="database", after_s=0.1),
    ),
    KAFKA: schedule(
        KAFKA,
        point("cleaner", Point.BEFORE_COMMIT),
        Fault(kind=Kind.LOST_REPLY, target="fetcher-kafka", after_s=0.1),
        point("loader", Point.AFTER_COMMIT),
        Fault(kind=Kind.BROKER_RESTART, target="kafka", after_s=0.1),
    ),
}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with folder() as path:
        yield path


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == KAFKA:
        try:
            java(), jars()
        except KafkaMissingError as missing:
            pytest.skip(str(missing))
    yield request.param
    gc.collect()


@pytest.fixture(scope="module")
def serial(place: Path) -> Serial:
    found = serial_run(SHORT[EMBEDDED], place, predictions=False, say=print)
    if not found.recorded:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"made-up days: set {VARIABLE} to the recorded ones", stacklevel=1)
    return found


def run(name: str, chosen: Schedule, serial: Serial, place: Path, broken: tuple[str, str] | None = None) -> Report:
    report = faulty_run(chosen, serial, place / name, print, broken)
    print("\n".join(report.lines()))
    return report


# kafka-python leaves a socket open that was refused: it is closed by the sweep at the end of the same test.
ON_KAFKA = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
BETWEEN = point("cleaner", Point.BETWEEN_HALVES)


@pytest.mark.parametrize("broker", [EMBEDDED, pytest.param(KAFKA, marks=ON_KAFKA)], indirect=True)
def test_the_pipeline_under_faults_leaves_what_it_leaves_without(broker: str, serial: Serial, place: Path) -> None:
    report = run(f"short-{broker}", SHORT[broker], serial, place)

    # How fast is for `make faults` to judge: here other tests run on the same cores.
    assert [problem for problem in report.problems if not problem.startswith("SLOW")] == []
    assert len(report.recoveries.taken) == len(SHORT[broker].faults)
    assert report.outcome is not None
    assert report.outcome.ledger


@pytest.mark.parametrize(
    ("broker", "broken", "faults"),
    [
        (EMBEDDED, "advance-first", [BETWEEN]),
        (EMBEDDED, "commit-ignored", []),
        pytest.param(KAFKA, "commit-ignored", [], marks=ON_KAFKA),
    ],
    indirect=["broker"],
)
def test_a_broken_unit_does_not_pass(
    broker: str, serial: Serial, place: Path, broken: str, faults: list[Fault]
) -> None:
    report = run(f"{broken}-{broker}", schedule(broker, *faults), serial, place, ("cleaner", broken))

    assert any(problem.startswith("LOST in clean-events") for problem in report.problems)


def test_a_seed_always_makes_the_same_schedule() -> None:
    assert made(7, EMBEDDED, 3) == made(7, EMBEDDED, 3) != made(8, EMBEDDED, 3)


def test_a_printed_schedule_can_be_run_again() -> None:
    for seed in range(5):
        chosen = made(seed, EMBEDDED, 2)
        assert Schedule.model_validate_json(chosen.model_dump_json()) == chosen


def test_a_long_schedule_has_every_kind_of_fault() -> None:
    for broker in (EMBEDDED, KAFKA):
        kinds = {fault.kind for fault in made(1, broker, 4).faults}

        assert kinds == set(Kind) - (set() if broker == KAFKA else {Kind.BROKER_RESTART, Kind.BROKER_KILL})
