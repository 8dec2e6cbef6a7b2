"""A prediction is sent once: by one process and by several, on both brokers, also after a kill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from services.predictor.serving.deduplication import TopicTail
from services.predictor.serving.predict import Predictor
from services.predictor.storage.postgres_facts import PostgresFacts
from shared.broker.contract import Broker, NewRecord, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.events import LoadedEvent
from shared.records import encode
from shared.topics import LOADED, PREDICTIONS, topic_specs
from tests.contract.conftest import Harness, harness, lease_s
from tests.contract.records import read_all, until, write
from tests.processes import wait_for_line
from tests.services.predictor.season import Connection, Event
from tests.services.predictor.serving.loaded_events import (
    DEPENDENCIES,
    ids,
    loaded_record,
    predictions,
    store_predictions,
)
from tests.services.predictor.serving.replica import LISTED, SERVICE, SOURCE, STARTS, event
from tests.services.predictor.serving.small_serving_model import InMemoryRegistry, SetClock, SmallModel

pytestmark = pytest.mark.slow
__all__ = ["harness", "lease_s"]
Start = Callable[[], "subprocess.Popen[str]"]
BROKER = ", ".join(
    f"broker.{table}" for table in ("topics", "partitions", "log", "positions", "leases", "members", "slots", "cursors")
)


@pytest.fixture
def database(database: Connection) -> Iterator[Connection]:
    """Also removes topics after the test."""
    yield database
    database.execute(f"TRUNCATE {BROKER} RESTART IDENTITY")


def test_a_repeated_batch_gives_the_same_records(predictor: Predictor, upcoming: list[Event]) -> None:
    batch = [loaded_record(event, "observed", offset=number) for number, event in enumerate(upcoming)]

    assert predictor.handle(batch) == predictor.handle(batch) != []


def test_a_record_that_changes_no_feature_gives_no_second_prediction(
    predictor: Predictor, upcoming: list[Event]
) -> None:
    first = predictor.handle([loaded_record(upcoming[0], "observed", offset=1)])
    second = predictor.handle([loaded_record(upcoming[0], "observed", offset=2)])

    assert len(first) == 1
    assert second == []


def test_a_new_process_does_not_repeat_loaded_predictions(
    predictor: Predictor,
    upcoming: list[Event],
    loaded: Connection,
    facts: PostgresFacts,
    registry: InMemoryRegistry,
    clock: SetClock,
) -> None:
    store_predictions(loaded, predictor.handle([loaded_record(upcoming[0], "observed", offset=1)]))

    another = Predictor(facts, registry, clock, DEPENDENCIES)

    assert another.handle([loaded_record(upcoming[0], "observed", offset=2)]) == []
    assert len(another.handle([loaded_record(upcoming[1], "observed", offset=3)])) == 1


def test_a_new_process_does_not_repeat_predictions_that_are_not_loaded_yet(
    predictor: Predictor,
    upcoming: list[Event],
    facts: PostgresFacts,
    registry: InMemoryRegistry,
    clock: SetClock,
    shared_url: str,
) -> None:
    with closing(PostgresBroker(shared_url)) as broker, closing(TopicTail(broker)) as tail:
        broker.ensure_topics(topic_specs(2))
        with closing(broker.producer("predictor")) as producer, producer.unit() as unit:
            unit.append(predictor.handle([loaded_record(upcoming[0], "observed", offset=1)]))
            unit.commit()
        without_tail = Predictor(facts, registry, clock, DEPENDENCIES)
        with_tail = Predictor(facts, registry, clock, DEPENDENCIES._replace(tail=tail))
        batch = [loaded_record(upcoming[0], "observed", offset=2)]

        assert with_tail.handle(batch) == []
        assert len(without_tail.handle(batch)) == 1  # only the topic has the first prediction


def test_a_process_does_not_repeat_the_predictions_of_another(
    upcoming: list[Event], facts: PostgresFacts, registry: InMemoryRegistry, clock: SetClock, shared_url: str
) -> None:
    with closing(PostgresBroker(shared_url)) as broker, closing(TopicTail(broker)) as tail:
        broker.ensure_topics(topic_specs(2))
        first = Predictor(facts, registry, clock, DEPENDENCIES)
        second = Predictor(facts, registry, clock, DEPENDENCIES._replace(tail=tail))
        assert len(second.handle([loaded_record(upcoming[1], "observed")])) == 1  # it has read the topic once
        with closing(broker.producer("predictor")) as producer, producer.unit() as unit:
            unit.append(first.handle([loaded_record(upcoming[0], "observed", offset=1)]))
            unit.commit()

        assert second.handle([loaded_record(upcoming[0], "observed", offset=2)]) == []


def test_the_topic_is_read_from_the_loaders_position(
    upcoming: list[Event], predictor: Predictor, shared_url: str
) -> None:
    records = predictor.handle([loaded_record(event, "observed") for event in upcoming[:2]])
    with closing(PostgresBroker(shared_url)) as broker:
        broker.ensure_topics(topic_specs(1))
        with closing(broker.producer("predictor")) as producer, producer.unit() as unit:
            unit.append(records)
            unit.commit()
        with closing(broker.consumer("loader", [PREDICTIONS], "a")) as loader:
            polled = loader.poll(5, 1)
            with closing(broker.producer("loader", in_database=True)) as producer, producer.db_unit() as unit:
                unit.advance(polled.token, dict.fromkeys(polled.token.partitions, 1))
                unit.commit()
        tail = TopicTail(broker)

        assert [str(each) for each in tail.new_ids()] == ids(records)[1:]
        assert tail.new_ids() == []
        tail.close()


def test_a_changed_observation_gives_a_prediction_with_another_id(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    (first,) = predictor.handle([loaded_record(upcoming[0], "observed", offset=1)])

    loaded.execute("UPDATE facts.observations SET measures = '{\"lap_s\": 6.7}' WHERE slot = 2")
    (second,) = predictor.handle([loaded_record(upcoming[0], "observed", offset=2)])

    assert ids([first]) != ids([second])


def test_a_replay_repeats_no_prediction_of_the_same_model_but_another_model_predicts(
    facts: PostgresFacts,
    registry: InMemoryRegistry,
    clock: SetClock,
    upcoming: list[Event],
    loaded: Connection,
    model: SmallModel,
) -> None:
    store_predictions(
        loaded,
        Predictor(facts, registry, clock, DEPENDENCIES).handle([loaded_record(event, "listed") for event in upcoming]),
    )
    batch = [loaded_record(event, "listed", "replay-1") for event in upcoming]

    assert Predictor(facts, registry, clock, DEPENDENCIES).handle(batch) == []
    other = replace(model, version="20300301-00000002", sharpness=0.2)
    messages = predictions(Predictor(facts, InMemoryRegistry(other), clock, DEPENDENCIES).handle(batch))

    assert len(messages) == 2 * len(upcoming)
    assert {each.model_version for each in messages} == {other.version}


@pytest.fixture
def broker(harness: Harness) -> Broker:
    harness.broker.ensure_topics(topic_specs(2))
    return harness.broker


@pytest.fixture
def start_replica(tmp_path: Path, repository: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.services.predictor.serving.replica", str(tmp_path / "broker.url")]
        processes.append(subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True))
        wait_for_line(processes[-1], "started")
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def append_records(broker: Broker, numbers: range) -> None:
    """Appends a new record of each of these events."""
    records: list[NewRecord] = [
        encode(
            LoadedEvent(
                source=SOURCE,
                event_key=event(number).event_key,
                kind="listed",
                version=1,
                known_at=LISTED,
                scheduled_at=STARTS,
            ),
            LOADED,
            "loaded-event/1",
            uuid4(),
            "loader",
        )
        for number in numbers
    ]
    write(broker, records, slot="facts")


def all_handled(broker: Broker) -> bool:
    """Whether every record was handled. Offsets do not tell: Kafka's transactions use some of them."""
    done = broker.committed(SERVICE, [LOADED])
    return all(done[TopicPartition(LOADED, each.partition)] > each.offset for each in read_all(broker, LOADED))


def test_a_prediction_that_is_only_in_the_topic_is_not_sent_again_after_a_kill(
    broker: Broker, start_replica: Start
) -> None:
    first = start_replica()
    append_records(broker, range(1, 9))
    until(lambda: all_handled(broker) and len(read_all(broker, PREDICTIONS)) == 8)
    first.kill()
    first.wait()

    append_records(broker, range(1, 11))  # the features of the first eight are unchanged
    start_replica()
    until(lambda: all_handled(broker) and len(read_all(broker, PREDICTIONS)) >= 10)

    ids = [record.headers["event_id"] for record in read_all(broker, PREDICTIONS)]
    assert len(ids) == len(set(ids)) == 10
