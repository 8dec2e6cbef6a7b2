"""Tells whether all records that existed at a given time are loaded, on both brokers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest

from services.notifier.summaries.quiescence import STAGES, PipelineDrain
from shared.broker.contract import Broker, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.settings.sections import KafkaSettings
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW, TopicSpec
from tests.contract.records import fill, poll_some
from tests.kafka.use import KafkaInUse
from tests.waiting import wait_until

SPECS = [TopicSpec(topic, 1) for topic in (RAW, CLEAN, LOADED, PREDICTIONS)]
IN_DATABASE = {"loader"}


@pytest.fixture(params=["embedded", "kafka"])
def empty_broker(request: pytest.FixtureRequest, database_url: str) -> Iterator[Broker]:
    """A broker with empty topics."""
    if request.param == "embedded":
        with closing(PostgresBroker(database_url)) as embedded:
            embedded.ensure_topics(SPECS)
            yield embedded
        return
    kafka: KafkaInUse = request.getfixturevalue("kafka")
    from shared.broker.kafka.broker import KafkaBroker  # imported only where there is a Kafka

    settings = KafkaSettings(environment=uuid4().hex)
    with kafka.empty(), closing(KafkaBroker(f"kafka://{kafka.bootstrap}", settings, database_url)) as broker:
        broker.ensure_topics(SPECS)
        yield broker


def write(broker: Broker, topic: str) -> None:
    """Appends a record and waits until it is visible: on Kafka that is shortly after the commit."""
    tp = TopicPartition(topic, 0)
    before = broker.end_offsets([tp])[tp]
    fill(broker, topic, ["something"])
    wait_until(lambda: broker.end_offsets([tp])[tp] > before)


def read_one(broker: Broker, group: str, topic: str) -> None:
    """The group polls one record of the topic and commits the position after it, as a loop does."""
    in_database = group in IN_DATABASE
    with (
        closing(broker.consumer(group, [topic], f"{group}-0", in_database=in_database)) as consumer,
        closing(broker.producer(f"{group}-0", in_database=in_database)) as producer,
    ):
        polled = poll_some(consumer, 1)
        with producer.db_unit() if in_database else producer.unit() as unit:
            unit.advance(polled.token, {TopicPartition(topic, 0): polled.records[-1].offset + 1})
            unit.commit()


def test_a_pipeline_without_records_is_drained(empty_broker: Broker) -> None:
    assert PipelineDrain(empty_broker).is_drained()


def test_a_pipeline_is_drained_when_the_record_has_passed_every_stage(empty_broker: Broker) -> None:
    """On Kafka the position stays before the end, because the transaction's end marker takes an offset."""
    write(empty_broker, RAW)
    drain = PipelineDrain(empty_broker)

    for topic, group in STAGES[:3]:
        assert not drain.is_drained()
        write(empty_broker, {RAW: CLEAN, CLEAN: LOADED, LOADED: PREDICTIONS}[topic])
        read_one(empty_broker, group, topic)
    assert not drain.is_drained()
    read_one(empty_broker, "loader", PREDICTIONS)

    wait_until(drain.is_drained)


def test_later_records_are_not_waited_for(empty_broker: Broker) -> None:
    write(empty_broker, RAW)
    drain = PipelineDrain(empty_broker)
    assert not drain.is_drained()
    read_one(empty_broker, "cleaner", RAW)

    write(empty_broker, RAW)

    wait_until(drain.is_drained)
