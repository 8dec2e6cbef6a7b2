"""Kafka loses records, topics, offsets or everything: nothing is skipped or repeated in silence, and after a person has
accepted the loss, a new event reaches predictor and notifier."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing

import pytest
from kafka import KafkaAdminClient
from kafka import TopicPartition as ClientPartition

from shared.broker.contract import TopicPartition
from shared.broker.kafka.broker import KafkaBroker
from shared.settings.sections import KafkaSettings
from shared.topics import CLEAN, FETCHER_CURSORS, LOADED
from tests.accidents.conftest import Database
from tests.accidents.pipeline import Pipeline, accept_losses, prepare, publish, running
from tests.contract.records import read_all
from tests.kafka.server import KafkaServer
from tests.services.loader.facts import settled
from tests.waiting import wait_until

# The library leaves refused sockets open.
pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]

OpenKafka = Callable[[], KafkaBroker]


def run_first_events(open_kafka: OpenKafka, database: Database) -> None:
    """Two events from end to end, then a stop."""
    prepare(open_kafka)
    publish(open_kafka, 1, 2)
    with running(open_kafka, database.url) as pipeline:
        pipeline.wait_until_told(1, 2)


def assert_continues(pipeline: Pipeline, open_kafka: OpenKafka, database: Database, kinds: dict[str, str]) -> None:
    """The services are held back and name the command; once their losses are accepted, a new event goes through."""
    pipeline.wait_until_held(*kinds)
    before = list(pipeline.predicted)
    for service, kind in kinds.items():
        assert f"`headrace resume --accept-loss {service} " in pipeline.trouble(service)
        assert pipeline.lost(service) >= (0 if kind == "forgotten" else 1)
    assert pipeline.predicted == before == []

    for service, kind in kinds.items():
        assert accept_losses(database.url, service) == [kind]
    publish(open_kafka, 9)

    pipeline.wait_until_told(9)


def delete_records(kafka: KafkaServer, topic: str) -> None:
    """As retention does, up to the end."""
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.delete_records({ClientPartition(topic, 0): -1})


def count(open_kafka: OpenKafka, topic: str) -> int:
    with closing(open_kafka()) as broker:
        return len(read_all(broker, topic))


def delete_topics(kafka: KafkaServer, *topics: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.delete_topics(list(topics))
        wait_until(lambda: not set(topics) & set(admin.list_topics()))


def test_retention_that_overtook_the_loader_holds_it_back(
    open_kafka: OpenKafka, own_kafka: KafkaServer, own_database: Database
) -> None:
    run_first_events(open_kafka, own_database)
    publish(open_kafka, 3)
    delete_records(own_kafka, CLEAN)

    with running(open_kafka, own_database.url) as pipeline:
        assert_continues(pipeline, open_kafka, own_database, {"loader": "removed"})

        assert pipeline.lost("loader") >= 2
        assert pipeline.predicted == [pipeline.predicted[0]] * 2


def test_records_that_vanish_while_the_service_runs_hold_it_back(
    open_kafka: OpenKafka, own_kafka: KafkaServer, own_database: Database
) -> None:
    """The consumer runs, with all partitions paused; it meets the loss at its fetch."""
    run_first_events(open_kafka, own_database)
    with running(open_kafka, own_database.url) as pipeline:
        wait_until(lambda: pipeline.state("loader") == "running")
        pipeline.pause("loader")
        publish(open_kafka, 3)
        delete_records(own_kafka, CLEAN)

        pipeline.resume("loader")

        assert_continues(pipeline, open_kafka, own_database, {"loader": "removed"})


def test_a_recreated_topic_holds_its_readers_back(
    open_kafka: OpenKafka, own_kafka: KafkaServer, own_database: Database
) -> None:
    run_first_events(open_kafka, own_database)
    delete_topics(own_kafka, CLEAN, LOADED)

    with running(open_kafka, own_database.url) as pipeline:
        kinds = {"loader": "recreated", "predictor": "recreated", "notifier": "recreated"}
        assert_continues(pipeline, open_kafka, own_database, kinds)


def test_a_recreated_topic_that_has_grown_past_the_position_holds_its_readers_back(
    open_kafka: OpenKafka, own_kafka: KafkaServer, own_database: Database
) -> None:
    run_first_events(open_kafka, own_database)
    delete_topics(own_kafka, CLEAN)
    prepare(open_kafka)
    publish(open_kafka, *range(3, 9))

    with running(open_kafka, own_database.url) as pipeline:
        assert_continues(pipeline, open_kafka, own_database, {"loader": "recreated"})
        pipeline.wait_until_told(*range(3, 9))


@pytest.mark.parametrize("grown", [False, True], ids=["shorter", "grown past the positions"])
def test_a_truncated_log_holds_its_readers_back(
    open_kafka: OpenKafka, own_kafka: KafkaServer, own_database: Database, grown: bool
) -> None:
    """The same topics, but their files are gone: the disk was lost."""
    run_first_events(open_kafka, own_database)
    own_kafka.kill()
    for directory in (own_kafka.log_file.parent / "data").glob(f"{CLEAN}-*"):
        shutil.rmtree(directory)
    own_kafka.start()
    if grown:
        publish(open_kafka, *range(3, 9))

    with running(open_kafka, own_database.url) as pipeline:
        assert_continues(pipeline, open_kafka, own_database, {"loader": "truncated"})
        if grown:
            pipeline.wait_until_told(*range(3, 9))


def test_forgotten_offsets_hold_the_group_back_instead_of_a_second_reading(
    open_kafka: OpenKafka, own_kafka: KafkaServer, own_database: Database, kafka_settings: KafkaSettings
) -> None:
    run_first_events(open_kafka, own_database)
    with closing(KafkaAdminClient(bootstrap_servers=own_kafka.bootstrap)) as admin:
        admin.delete_groups([f"{kafka_settings.environment}.predictor"])

    with running(open_kafka, own_database.url) as pipeline:
        assert_continues(pipeline, open_kafka, own_database, {"predictor": "forgotten"})

        assert len(pipeline.predicted) == 2


def test_a_new_kafka_holds_all_readers_back(
    own_kafka: KafkaServer, own_database: Database, kafka_settings: KafkaSettings, open_kafka: OpenKafka
) -> None:
    run_first_events(open_kafka, own_database)
    own_kafka.kill()
    own_kafka.start_empty()

    with running(open_kafka, own_database.url) as pipeline:
        kinds = {"loader": "recreated", "predictor": "recreated", "notifier": "recreated"}
        assert_continues(pipeline, open_kafka, own_database, kinds)


def test_the_same_events_again_change_no_row(
    open_kafka: OpenKafka, own_kafka: KafkaServer, own_database: Database
) -> None:
    """The fetcher's cursors are lost: it begins again."""
    with running(open_kafka, own_database.url) as pipeline:
        pipeline.source.numbers = [1, 2]
        pipeline.wait_until_told(1, 2)
    delete_topics(own_kafka, FETCHER_CURSORS)

    with running(open_kafka, own_database.url) as pipeline:
        pipeline.source.numbers = [1, 2]
        wait_until(lambda: count(open_kafka, CLEAN) == 8, poll_s=0.1)
        pipeline.source.numbers = [1, 2, 9]
        pipeline.wait_until_told(9)  # the loader has passed the repeated records

        assert pipeline.predicted == [settled(9).event_key] * 2


def test_an_accepted_loss_is_not_accepted_for_the_next_one(
    open_kafka: OpenKafka, own_kafka: KafkaServer, own_database: Database
) -> None:
    run_first_events(open_kafka, own_database)
    for number in (3, 4):
        publish(open_kafka, number)
        delete_records(own_kafka, CLEAN)
        with running(open_kafka, own_database.url) as pipeline:
            pipeline.wait_until_held("loader")
            assert accept_losses(own_database.url, "loader") == ["removed"]
            assert accept_losses(own_database.url, "loader") == []
            wait_until(lambda pipeline=pipeline: pipeline.state("loader") == "running")  # type: ignore[misc]
            publish(open_kafka, 10 + number)
            pipeline.wait_until_told(10 + number)


def test_begin_offsets_of_a_new_group_are_no_loss(
    open_kafka: OpenKafka, own_kafka: KafkaServer, own_database: Database
) -> None:
    """A new database reads what retention has left, without a person."""
    prepare(open_kafka)
    publish(open_kafka, 1)
    delete_records(own_kafka, CLEAN)
    publish(open_kafka, 2)

    with running(open_kafka, own_database.url) as pipeline:
        pipeline.wait_until_told(2)

        with closing(open_kafka()) as broker:
            assert broker.committed("loader", [CLEAN])[TopicPartition(CLEAN, 0)] > 0
