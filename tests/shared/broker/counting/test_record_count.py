"""The number of records between two offsets on a real Kafka, where offsets have gaps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest

from shared.broker.contract import NewRecord, OffsetRange, TopicPartition
from shared.broker.counting.record_count import GaplessRecordCount, ReadRecordCount
from shared.broker.kafka.broker import KafkaBroker
from shared.settings.sections import KafkaSettings
from shared.topics import TopicSpec
from tests.kafka.use import KafkaInUse

TP = TopicPartition("counted", 0)
OTHER = TopicPartition("counted", 1)
UNITS = (5, 1, 2)
ABORTED = 4


@pytest.fixture
def broker(kafka: KafkaInUse, database_url: str) -> Iterator[KafkaBroker]:
    settings = KafkaSettings(environment=uuid4().hex)
    with kafka.empty(), closing(KafkaBroker(f"kafka://{kafka.bootstrap}", settings, database_url)) as broker:
        broker.ensure_topics([TopicSpec(TP.topic, 2, None)])
        with closing(broker.producer("writer")) as producer:
            for size in UNITS:
                with producer.unit() as unit:
                    unit.append([NewRecord(TP.topic, b"k", b"{}", {}, TP.partition)] * size)
                    unit.commit()
        abort(kafka.bootstrap)
        yield broker


def abort(bootstrap: str) -> None:
    """Write a transaction and abort it: its records are in the log and must not be counted."""
    from kafka import KafkaProducer

    with closing(KafkaProducer(bootstrap_servers=bootstrap, transactional_id=uuid4().hex)) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        for _ in range(ABORTED):
            producer.send(TP.topic, b"{}", partition=TP.partition)
        producer.flush()
        producer.abort_transaction()


def wait_for_end(broker: KafkaBroker) -> int:
    """The end offset, once the marker of the abort is written. Each transaction has a marker with an offset."""
    end = sum(UNITS) + len(UNITS) + ABORTED + 1
    while broker.end_offsets([TP])[TP] < end:
        pass  # each request of the library takes some time
    return end


def test_transaction_markers_and_aborted_records_are_not_counted(broker: KafkaBroker) -> None:
    end = wait_for_end(broker)
    ranges = [
        OffsetRange(TP, 0, end),
        OffsetRange(TP, 0, 6),
        OffsetRange(TP, 3, 8),
        OffsetRange(TP, end - ABORTED - 1, end),
        OffsetRange(OTHER, 0, 0),
    ]

    counts = ReadRecordCount(broker).count(ranges)

    # Records: offsets 0 to 4, 6, 8 and 9. Markers of the units: 5, 7 and 10.
    assert [counts[each] for each in ranges] == [sum(UNITS), 5, 3, 0, 0]


def test_ranges_without_records_are_empty_also_several_in_one_partition(broker: KafkaBroker) -> None:
    end = wait_for_end(broker)
    gap, aborted, record = OffsetRange(TP, 5, 6), OffsetRange(TP, 10, end), OffsetRange(TP, 6, end)

    record_count = ReadRecordCount(broker)

    assert record_count.empty([gap, aborted, record, OffsetRange(OTHER, 0, 0)]) == {
        gap,
        aborted,
        OffsetRange(OTHER, 0, 0),
    }


def test_the_embedded_log_has_no_gaps() -> None:
    ranges = [OffsetRange(TP, 3, 8), OffsetRange(TP, 8, 8)]

    assert GaplessRecordCount().count(ranges) == {ranges[0]: 5, ranges[1]: 0}
    assert GaplessRecordCount().empty(ranges) == {ranges[1]}
