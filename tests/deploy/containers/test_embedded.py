"""An installation without Kafka: the season of deploy/.env.example on the embedded broker, a fault, stop and start.

The tests run in their order and share the installation.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from shared.topics import SERVICES
from tests.deploy.containers import faults
from tests.deploy.containers.engine import Engine
from tests.deploy.containers.installation import Installation, NewInstallation
from tests.deploy.containers.reference import Reference
from tests.deploy.containers.rows import differences
from tests.deploy.containers.season import Season, Span
from tests.headrace.runs import TABLES
from tests.waiting import wait_until

pytestmark = pytest.mark.engine
EXAMPLE = Path(__file__).parents[3] / "deploy" / ".env.example"
FAULTS = {
    "the cleaner crashes": faults.crash("cleaner"),
    "the loader crashes": faults.crash("loader"),
    "postgres crashes": faults.crash("postgres"),
    "stop and start": faults.stop_and_start,
}
FAULT_DAYS = 24
# The days of the simulator's default season, and more of them.
SEASON = Season(venues=4, days=200)


def example_of_the_simulator() -> dict[str, str]:
    """The lines that deploy/.env.example has as comments."""
    return dict(re.findall(r"^# (HEADRACE_\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


START = Span(*(date.fromisoformat(example_of_the_simulator()[name]) for name in ("HEADRACE_FROM", "HEADRACE_TO")))
SPANS = dict(zip(FAULTS, START.successors(FAULT_DAYS), strict=False))


@pytest.fixture(scope="module")
def reference(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    reference = Reference(tmp_path_factory.mktemp("reference"), SEASON)
    reference.load(Span(START.first, max(span.last for span in SPANS.values())))
    return reference


@pytest.fixture(scope="module")
def expected(reference: Reference) -> dict[Span, tuple[int, ...]]:
    return reference.counts([START, *SPANS.values()])


@pytest.fixture(scope="module")
def installation(new_installation: NewInstallation, expected: dict[Span, tuple[int, ...]]) -> Iterator[Installation]:
    with new_installation("embedded") as installation:
        installation.override(SEASON)
        profiles = {"COMPOSE_PROFILES": "simulator", "HEADRACE_BROKER": "embedded"}
        installation.configure(profiles | example_of_the_simulator())
        installation.start()
        installation.wait_for_counts(START, expected[START])
        yield installation


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_while_records_flow_changes_no_row(
    installation: Installation, expected: dict[Span, tuple[int, ...]], name: str
) -> None:
    faults.load_with_fault(installation, SPANS[name], expected[SPANS[name]], FAULTS[name])


def test_the_rows_are_those_of_an_undisturbed_run(installation: Installation, reference: Reference) -> None:
    assert differences(reference.tables(TABLES), installation.tables(TABLES)) == []


def test_kafka_is_not_there(installation: Installation) -> None:
    started = {each.service for each in installation.containers()}

    assert started == {*SERVICES, "postgres", "simulator", "migrate"}


def test_the_command_starts_nothing(installation: Installation) -> None:
    """Neither Kafka, nor the job that migrates."""
    before = installation.configurations()
    started_s = time.monotonic()
    status = installation.cli_json("status")
    duration_s = time.monotonic() - started_s
    after = installation.configurations()

    installation.figures.add(f"docker compose run --rm cli status: {duration_s:.1f} s")
    assert {each["service"]: each["ready"] for each in status} == dict.fromkeys(SERVICES, True)
    assert {name: each["State"]["StartedAt"] for name, each in after.items()} == {
        name: each["State"]["StartedAt"] for name, each in before.items()
    }


def test_more_replicas_share_the_work(installation: Installation) -> None:
    faults.scale({"cleaner": 2, "notifier": 2})(installation)


def test_a_setting_that_is_wrong_is_named_in_the_log(installation: Installation) -> None:
    installation.configure({"HEADRACE_SOURCE": "nowhere"})
    installation.compose("up", "--detach", "fetcher")
    wait_until(lambda: "nowhere" in installation.compose("logs", "--tail", "5", "fetcher"), "the reason")
    example = {"HEADRACE_SOURCE": "simulator"}
    installation.configure(example)
    installation.up()


def test_nothing_is_missing_or_twice(installation: Installation) -> None:
    report = installation.cli_json("audit")

    assert report["ok"], report
    assert report["fetched"] > 0
