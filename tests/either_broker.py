"""Runs a test on the embedded broker and on Kafka, with all topics of Headrace, in a database with all migrations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from uuid import uuid4

import pytest

from shared.broker.contract import Broker, Record
from shared.broker.counting.read_range import read_range
from shared.broker.postgres.broker import PostgresBroker
from shared.settings.sections import KafkaSettings
from shared.topics import topic_specs
from tests.kafka.use import KafkaInUse

PARTITIONS = 2
# kafka-python leaves refused sockets open.
BROKERS = ["embedded", pytest.param("kafka", marks=pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))]

OpenBroker = Callable[[], Broker]
"""Opens the broker with connections of its own, as in another process."""


def records_of(broker: Broker, topic: str) -> list[Record]:
    """All records of a topic."""
    tps = broker.partitions(topic)
    begins, ends = broker.begin_offsets(tps), broker.end_offsets(tps)
    return [record for batch in read_range(broker, {tp: (begins[tp], ends[tp]) for tp in tps}) for record in batch]


@contextmanager
def run_broker(request: pytest.FixtureRequest, database_url: str) -> Iterator[OpenBroker]:
    """The broker that the fixture's parameter, one of BROKERS, names."""
    with ExitStack() as stack:
        if request.param == "embedded":

            def create() -> Broker:
                return PostgresBroker(database_url)

        else:
            kafka: KafkaInUse = request.getfixturevalue("kafka")
            stack.enter_context(kafka.empty())
            settings = KafkaSettings(environment=uuid4().hex)

            def create() -> Broker:
                from shared.broker.kafka.broker import KafkaBroker  # only after the warning filters are set

                return KafkaBroker(f"kafka://{kafka.bootstrap}", settings, database_url)

        def open_broker() -> Broker:
            return stack.enter_context(closing(create()))

        open_broker().ensure_topics(topic_specs(PARTITIONS))
        yield open_broker
