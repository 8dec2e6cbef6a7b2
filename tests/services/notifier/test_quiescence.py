"""Whether all that was under way has arrived, on both brokers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest

from services.notifier.quiescence import STAGES, PipelineDrain
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
def way(request: pytest.FixtureRequest, database_url: str) -> Iterator[Broker]:
    """A broker whose topics nobody has written to."""
    if request.param == "embedded":
        with closing(PostgresBroker(database_url)) as embedded:
            embedded.ensure_topics(SPECS)
            yield embedded
        return
    kafka: KafkaInUse = request.getfixturevalue("kafka")
    from shared.broker.kafka.broker import KafkaBroker  # where there is no Kafka it is not needed

    settings = KafkaSettings(environment=uuid4().hex)
    with kafka.empty(), closing(KafkaBroker(f"kafka://{kafka.bootstrap}", settings, database_url)) as broker:
        broker.ensure_topics(SPECS)
        yield broker


def write(broker: Broker, topic: str) -> None:
    """One record more, and visible: on Kafka a commit is answered a moment before."""
    tp = TopicPartition(topic, 0)
    before = broker.end_offsets([tp])[tp]
    fill(broker, topic, ["something"])
    wait_until(lambda: broker.end_offsets([tp])[tp] > before)


def read_up(broker: Broker, group: str, topic: str) -> None:
    """The group takes one record of the topic and commits the position after it, as a loop does."""
    in_database = group in IN_DATABASE
    with (
        closing(broker.consumer(group, [topic], f"{group}-0", in_database=in_database)) as consumer,
        closing(broker.producer(f"{group}-0", in_database=in_database)) as producer,
    ):
        polled = poll_some(consumer, 1)
        with producer.db_unit() if in_database else producer.unit() as unit:
            unit.advance(polled.token, {TopicPartition(topic, 0): polled.records[-1].offset + 1})
            unit.commit()


def test_where_nothing_is_under_way_it_is_out(way: Broker) -> None:
    assert PipelineDrain(way).is_drained()


def test_it_goes_out_hop_by_hop(way: Broker) -> None:
    """On Kafka the position stays before the end, for the end of the transaction took an offset too."""
    write(way, RAW)
    tide = PipelineDrain(way)

    for topic, group in STAGES[:3]:
        assert not tide.is_drained()
        write(way, {RAW: CLEAN, CLEAN: LOADED, LOADED: PREDICTIONS}[topic])
        read_up(way, group, topic)
    assert not tide.is_drained()
    read_up(way, "loader", PREDICTIONS)

    wait_until(tide.is_drained)


def test_what_comes_after_it_began_is_not_of_it(way: Broker) -> None:
    write(way, RAW)
    tide = PipelineDrain(way)
    assert not tide.is_drained()
    read_up(way, "cleaner", RAW)

    write(way, RAW)

    wait_until(tide.is_drained)
