"""A prediction is told once, whatever is killed when, on both brokers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from shared.broker.contract import Broker, NewRecord, TopicPartition
from shared.events import LoadedEvent
from shared.records import encode
from shared.topics import LOADED, PREDICTIONS, specs
from tests.contract.children import said
from tests.contract.conftest import Harness, harness
from tests.contract.records import everything, put, until
from tests.services.predictor.serving.replica import LISTED, SERVICE, SOURCE, STARTS, event

__all__ = ["harness"]
Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def broker(harness: Harness) -> Broker:
    harness.broker.ensure_topics(specs(2))
    return harness.broker


@pytest.fixture
def started(tmp_path: Path, repository: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.services.predictor.serving.replica", str(tmp_path / "broker.url")]
        processes.append(subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True))
        said(processes[-1], "started")
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def tell(broker: Broker, numbers: range) -> None:
    """A fact of each of these events, always another one."""
    records: list[NewRecord] = [
        encode(
            LoadedEvent(
                source=SOURCE, event_key=event(number).event_key, kind="listed", version=1, known_at=LISTED,
                scheduled_at=STARTS,
            ),
            LOADED, "loaded-event/1", uuid4(), "loader",
        )
        for number in numbers
    ]  # fmt: skip
    with closing(broker.producer("facts")) as producer:
        put(producer, records)


def handled(broker: Broker) -> bool:
    """Every fact; not every offset, of which Kafka's transactions take some."""
    done = broker.committed(SERVICE, [LOADED])
    return all(done[TopicPartition(LOADED, each.partition)] > each.offset for each in everything(broker, LOADED))


def test_what_was_told_but_not_loaded_is_not_told_again_after_a_kill(broker: Broker, started: Start) -> None:
    first = started()
    tell(broker, range(1, 9))
    until(lambda: handled(broker) and len(everything(broker, PREDICTIONS)) == 8)
    first.kill()
    first.wait()

    tell(broker, range(1, 11))  # nothing of the first eight's features changed
    started()
    until(lambda: handled(broker) and len(everything(broker, PREDICTIONS)) >= 10)

    ids = [record.headers["event_id"] for record in everything(broker, PREDICTIONS)]
    assert len(ids) == len(set(ids)) == 10
