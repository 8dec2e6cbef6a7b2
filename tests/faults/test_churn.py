"""Replicas that come and go at random, without any setting, lose nothing and write nothing twice."""

from __future__ import annotations

import gc
from datetime import date
from pathlib import Path

import pytest

from tests.faults.churn import churn_run
from tests.faults.schedule import EMBEDDED, KAFKA, Schedule
from tests.faults.suite import reference_run, run_directory
from tests.faults.world import Plan, World
from tests.kafka.jars import KafkaMissingError, jars, java

pytestmark = pytest.mark.slow
SCHEDULE = Schedule(
    seed=0, broker=EMBEDDED, first=date(2026, 2, 1), days=12, venues=2, replicas={}, faults=()
)  # fmt: skip
ACTIONS = 16
# kafka-python does not close a socket whose connection was refused; garbage collection at the end of the test does.
ON_KAFKA = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.mark.parametrize("broker", [EMBEDDED, pytest.param(KAFKA, marks=[ON_KAFKA, pytest.mark.kafka])])
def test_replicas_that_come_and_go_do_not_change_the_result(broker: str) -> None:
    if broker == KAFKA:
        try:
            java(), jars()
        except KafkaMissingError as error:
            pytest.skip(str(error))
    with run_directory() as directory:
        problems = _problems(broker, directory)
    gc.collect()

    assert problems == []


def _problems(broker: str, directory: Path) -> list[str]:
    reference = reference_run(SCHEDULE, directory, predictions=False, log=print)
    plan = Plan(reference.archive, {}, frozenset({"fetcher"}), broker=broker, claims_slots=True)
    with World(directory / "churn", plan) as world:
        return churn_run(world, reference, SCHEDULE.history, seed=1, actions=ACTIONS, log=print)
