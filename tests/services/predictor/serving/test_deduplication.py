"""A prediction is told once: by one process, by several, and on both brokers whatever is killed when."""

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
from tests.contract.children import wait_for_line
from tests.contract.conftest import Harness, harness, lease_s
from tests.contract.records import everything, put, until
from tests.services.predictor.season import Connection, Event
from tests.services.predictor.serving.loaded_events import PARTS, ids, keep, predictions, told_of
from tests.services.predictor.serving.replica import LISTED, SERVICE, SOURCE, STARTS, event
from tests.services.predictor.serving.serving import SetClock, Shelf, SmallModel

pytestmark = pytest.mark.slow
__all__ = ["harness", "lease_s"]
Start = Callable[[], "subprocess.Popen[str]"]
BROKER = ", ".join(
    f"broker.{table}" for table in ("topics", "partitions", "log", "positions", "leases", "members", "slots", "cursors")
)


@pytest.fixture
def database(database: Connection) -> Iterator[Connection]:
    """Without topics, too."""
    yield database
    database.execute(f"TRUNCATE {BROKER} RESTART IDENTITY")


def test_a_repeated_batch_gives_the_same_records(predictor: Predictor, upcoming: list[Event]) -> None:
    batch = [told_of(event, "observed", offset=number) for number, event in enumerate(upcoming)]

    assert predictor.handle(batch) == predictor.handle(batch) != []


def test_another_record_that_changes_no_feature_is_told_no_second_time(
    predictor: Predictor, upcoming: list[Event]
) -> None:
    first = predictor.handle([told_of(upcoming[0], "observed", offset=1)])
    second = predictor.handle([told_of(upcoming[0], "observed", offset=2)])

    assert len(first) == 1
    assert second == []


def test_a_new_process_does_not_tell_again_what_is_loaded(
    predictor: Predictor, upcoming: list[Event], loaded: Connection, facts: PostgresFacts, shelf: Shelf, clock: SetClock
) -> None:
    keep(loaded, predictor.handle([told_of(upcoming[0], "observed", offset=1)]))

    another = Predictor(facts, shelf, clock, PARTS)

    assert another.handle([told_of(upcoming[0], "observed", offset=2)]) == []
    assert len(another.handle([told_of(upcoming[1], "observed", offset=3)])) == 1


def test_a_new_process_does_not_tell_again_what_is_on_its_way_to_the_loader(
    predictor: Predictor, upcoming: list[Event], facts: PostgresFacts, shelf: Shelf, clock: SetClock, shared_url: str
) -> None:
    with closing(PostgresBroker(shared_url)) as broker, closing(TopicTail(broker)) as tail:
        broker.ensure_topics(topic_specs(2))
        with closing(broker.producer("predictor")) as producer, producer.unit() as unit:
            unit.append(predictor.handle([told_of(upcoming[0], "observed", offset=1)]))
            unit.commit()
        forgetful = Predictor(facts, shelf, clock, PARTS)
        reading = Predictor(facts, shelf, clock, PARTS._replace(tail=tail))
        batch = [told_of(upcoming[0], "observed", offset=2)]

        assert reading.handle(batch) == []
        assert len(forgetful.handle(batch)) == 1  # so it is the topic that told


def test_what_another_process_told_meanwhile_is_not_told_again(
    upcoming: list[Event], facts: PostgresFacts, shelf: Shelf, clock: SetClock, shared_url: str
) -> None:
    with closing(PostgresBroker(shared_url)) as broker, closing(TopicTail(broker)) as tail:
        broker.ensure_topics(topic_specs(2))
        first = Predictor(facts, shelf, clock, PARTS)
        second = Predictor(facts, shelf, clock, PARTS._replace(tail=tail))
        assert len(second.handle([told_of(upcoming[1], "observed")])) == 1  # it has read the topic once
        with closing(broker.producer("predictor")) as producer, producer.unit() as unit:
            unit.append(first.handle([told_of(upcoming[0], "observed", offset=1)]))
            unit.commit()

        assert second.handle([told_of(upcoming[0], "observed", offset=2)]) == []


def test_the_topic_is_read_from_where_the_loader_is(
    upcoming: list[Event], predictor: Predictor, shared_url: str
) -> None:
    records = predictor.handle([told_of(event, "observed") for event in upcoming[:2]])
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


def test_a_changed_observation_is_told_under_another_id(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    (first,) = predictor.handle([told_of(upcoming[0], "observed", offset=1)])

    loaded.execute("UPDATE facts.observations SET measures = '{\"lap_s\": 6.7}' WHERE slot = 2")
    (second,) = predictor.handle([told_of(upcoming[0], "observed", offset=2)])

    assert ids([first]) != ids([second])


def test_a_replay_with_the_same_model_changes_nothing_and_another_model_has_its_own_say(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event], loaded: Connection, model: SmallModel
) -> None:
    keep(loaded, Predictor(facts, shelf, clock, PARTS).handle([told_of(event, "listed") for event in upcoming]))
    batch = [told_of(event, "listed", "replay-1") for event in upcoming]

    assert Predictor(facts, shelf, clock, PARTS).handle(batch) == []
    other = replace(model, version="20300301-00000002", sharpness=0.2)
    told = predictions(Predictor(facts, Shelf(other), clock, PARTS).handle(batch))

    assert len(told) == 2 * len(upcoming)
    assert {each.model_version for each in told} == {other.version}


@pytest.fixture
def broker(harness: Harness) -> Broker:
    harness.broker.ensure_topics(topic_specs(2))
    return harness.broker


@pytest.fixture
def started(tmp_path: Path, repository: Path) -> Iterator[Start]:
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


def tell(broker: Broker, numbers: range) -> None:
    """A fact of each of these events, always another one."""
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
