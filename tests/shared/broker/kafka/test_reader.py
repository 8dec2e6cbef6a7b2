"""Readers without a group, of records that are gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from shared.broker.contract import OffsetsGone, Reader, TopicPartition
from shared.settings.sections import KafkaSettings
from shared.topics import TopicSpec
from tests.contract.records import fill, until, values
from tests.kafka.use import KafkaInUse
from tests.waiting import wait_until

if TYPE_CHECKING:
    from shared.broker.kafka.broker import KafkaBroker

pytestmark = pytest.mark.kafka
TP = TopicPartition("spans", 0)


@pytest.fixture
def broker(kafka: KafkaInUse, database_url: str) -> Iterator[KafkaBroker]:
    """Of a topic whose first three records were removed; two are left."""
    from kafka import KafkaAdminClient
    from kafka import TopicPartition as ClientPartition

    from shared.broker.kafka.broker import KafkaBroker

    settings = KafkaSettings(environment=uuid4().hex)
    with kafka.empty(), closing(KafkaBroker(f"kafka://{kafka.bootstrap}", settings, database_url)) as broker:
        broker.ensure_topics([TopicSpec(TP.topic, 1, None)])
        fill(broker, TP.topic, ["0", "1", "2"])
        end = broker.end_offsets([TP])[TP]
        fill(broker, TP.topic, ["3", "4"])
        with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
            admin.delete_records({ClientPartition(*TP): end})
        until(lambda: broker.begin_offsets([TP])[TP] == end)
        yield broker


def read_two(reader: Reader, read: list[str]) -> None:
    def is_read() -> bool:
        read.extend(values(reader.poll(0.1, 10)))
        return len(read) == 2

    wait_until(is_read)


def test_a_reader_that_needs_all_records_names_those_that_are_gone(broker: KafkaBroker) -> None:
    begin = broker.begin_offsets([TP])[TP]
    read: list[str] = []

    with closing(broker.reader([TP], complete=True)) as reader:
        reader.seek(TP, 1)
        with pytest.raises(OffsetsGone, match=f"the {begin - 1} offsets from 1 to before {begin} are gone"):
            wait_until(lambda: reader.poll(0.1, 10))
        reader.seek(TP, begin)
        read_two(reader, read)

    assert read == ["3", "4"]


def test_a_reader_after_the_end_of_a_log_that_lost_its_end_does_not_begin_again(broker: KafkaBroker) -> None:
    with closing(broker.reader([TP], complete=True)) as reader:
        reader.seek(TP, 1_000)
        with pytest.raises(OffsetsGone, match="the log ends before offset 1000"):
            wait_until(lambda: reader.poll(0.1, 10))


def test_a_measurement_goes_on_at_the_first_record_that_is_left(broker: KafkaBroker) -> None:
    read: list[str] = []

    with closing(broker.reader([TP])) as reader:
        reader.seek(TP, 1)
        read_two(reader, read)

    assert read == ["3", "4"]
