"""Replays by real services on both brokers: executed once despite kills, without moving live positions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.database.embedded import EmbeddedPostgres
from shared.topics import CLEAN, RAW
from tests.contract.conftest import Harness
from tests.contract.records import until
from tests.contract.replay_services import Pipeline, kill, open_pipeline, raw_card, workers_of
from tests.services.loader.views import tables

# kafka-python does not close a socket whose connection was refused; garbage collection at the end of the test does.
ON_KAFKA = [pytest.mark.long, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("harness", ["embedded", pytest.param("kafka", marks=ON_KAFKA)], indirect=True),
]
RECORDS = 600
# Records per second: slow enough for a kill half-way, in units of a hundred.
RATE = 200


@pytest.fixture
def pipeline(harness: Harness, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Pipeline]:
    with open_pipeline(harness.broker, postgres, tmp_path / "broker.url") as pipeline:
        pipeline.append([raw_card(number) for number in range(RECORDS)])
        yield pipeline


def test_a_replay_of_the_cleaner_is_executed_once_although_its_processes_are_killed(pipeline: Pipeline) -> None:
    cleaner = pipeline.start("cleaner")
    pipeline.wait_for_progress("cleaner", RAW, RECORDS)
    before = pipeline.broker.committed("cleaner", [RAW])

    operation_id = pipeline.start_replay("cleaner", RAW, rate=RATE)
    pipeline.wait_for_half(operation_id)
    workers = workers_of(cleaner)
    for worker in workers:
        worker.kill()
    until(lambda: [each for each in workers_of(cleaner) if each not in workers])
    kill(cleaner)
    successor = pipeline.start("cleaner", "1")

    operation = pipeline.wait_for_state(operation_id, "succeeded")
    assert operation.counts["outputs"] == operation.counts["read"] == RECORDS
    assert len(workers) == 1
    until(lambda: not workers_of(successor))
    outputs = pipeline.outputs(CLEAN, operation_id, RECORDS)
    assert set(outputs.values()) == {1}
    assert outputs.keys() == pipeline.outputs(CLEAN, "0", RECORDS).keys()
    assert pipeline.broker.committed("cleaner", [RAW]) == before


def test_a_replay_of_the_loader_that_is_killed_half_way_changes_no_row(pipeline: Pipeline) -> None:
    cleaner, loader = pipeline.start("cleaner"), pipeline.start("loader")
    pipeline.wait_for_progress("cleaner", RAW, RECORDS)
    pipeline.wait_for_progress("loader", CLEAN, RECORDS)
    before, rows = pipeline.broker.committed("loader", [CLEAN]), tables(pipeline.connection)
    assert rows

    operation_id = pipeline.start_replay("loader", CLEAN, rate=RATE)
    pipeline.wait_for_half(operation_id)
    for worker in workers_of(loader):
        worker.kill()
    kill(loader)
    kill(cleaner)
    pipeline.start("loader", "1")

    operation = pipeline.wait_for_state(operation_id, "succeeded")
    assert (operation.counts["read"], operation.counts["dead_letters"]) == (RECORDS, 0)
    assert tables(pipeline.connection) == rows
    assert pipeline.broker.committed("loader", [CLEAN]) == before


def test_replays_of_disjoint_events_run_at_once_and_are_controlled_separately(pipeline: Pipeline) -> None:
    pipeline.start("cleaner")
    pipeline.wait_for_progress("cleaner", RAW, RECORDS)

    ids = [pipeline.start_replay("cleaner", RAW, keys=[f"boatrace:2031-05-0{day}:*"], rate=60) for day in (6, 7)]
    for operation_id in ids:
        pipeline.wait_for_half(operation_id)
    pipeline.apply_command(ids[0], "pause")
    pipeline.apply_command(ids[1], "cancel")

    paused, cancelled = pipeline.wait_for_state(ids[0], "paused"), pipeline.wait_for_state(ids[1], "cancelled")
    for operation in (paused, cancelled):
        count = operation.counts["outputs"]
        assert pipeline.outputs(CLEAN, operation.id, count).total() == count < 240
    pipeline.apply_command(ids[0], "resume")
    again = pipeline.start_replay("cleaner", RAW, keys=["boatrace:2031-05-07:*"])
    for operation_id in (ids[0], again):
        pipeline.wait_for_state(operation_id, "succeeded")
        outputs = pipeline.outputs(CLEAN, operation_id, 240)
        assert len(outputs) == outputs.total() == 240
