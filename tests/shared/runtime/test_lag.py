"""Lag on a real Kafka: offsets without records, the limit of counting, and external resets without effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import psycopg
import pytest
import structlog

from services.loader.settings import LoaderSettings
from shared.broker.contract import NewRecord, TopicPartition
from shared.broker.counting.backlog import ReadBacklog
from shared.broker.kafka.broker import KafkaBroker
from shared.runtime.lag import LagMeter, ObservedPositions, PartitionLag, lag_meter_of
from shared.settings.sections import BrokerSettings, DatabaseSettings, KafkaSettings
from shared.topics import TopicSpec
from tests.contract.records import until
from tests.kafka.use import KafkaInUse

TP = TopicPartition("waiting", 0)
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture
def settings(kafka: KafkaInUse) -> LoaderSettings:
    return LoaderSettings(
        broker=BrokerSettings(url=f"kafka://{kafka.bootstrap}"),
        kafka=KafkaSettings(environment=uuid4().hex),
        database=DatabaseSettings(url="postgresql:///elsewhere"),
    )


@pytest.fixture
def broker(kafka: KafkaInUse, settings: LoaderSettings, url: str) -> Iterator[KafkaBroker]:
    with kafka.empty(), closing(new_broker(settings, url)) as broker:
        broker.ensure_topics([TopicSpec(TP.topic, 1, None)])
        yield broker


def new_broker(settings: LoaderSettings, url: str) -> KafkaBroker:
    return KafkaBroker(settings.broker.url, settings.kafka, url)


def fill(broker: KafkaBroker, units: int, size: int = 1) -> None:
    with closing(broker.producer("writer")) as producer:
        for _ in range(units):
            with producer.unit() as unit:
                unit.append([NewRecord(TP.topic, b"k", b"{}", {}, TP.partition)] * size)
                unit.commit()
    until(lambda: broker.end_offsets([TP])[TP] >= units * (size + 1))


def lag_of(meter: LagMeter, *, thorough: bool = True) -> PartitionLag:
    """Retries until Kafka has a coordinator of the group."""
    lags: list[PartitionLag] = []

    def measure() -> bool:
        lags[:] = meter.measure([TP.topic], thorough=thorough)
        return True

    until(measure)
    return lags[0]


def test_beyond_a_limit_the_count_is_estimated_from_the_density_of_records(broker: KafkaBroker) -> None:
    fill(broker, 20)  # every second offset is a record
    backlog = ReadBacklog(broker, max_records=10)
    with closing(LagMeter(broker, "cleaner", backlog)) as meter:
        lag = lag_of(meter)

    assert (lag.position, lag.end, lag.exact) == (0, 40, False)
    assert 18 <= lag.records <= 22
    assert lag.seconds is not None


def test_a_quick_measurement_is_exact_at_an_unmoved_position_and_at_the_end_of_a_transaction(
    broker: KafkaBroker,
) -> None:
    fill(broker, 3)
    observed = {TP: 0}
    backlog = ReadBacklog(broker)
    with closing(LagMeter(broker, "cleaner", backlog, observed_positions=lambda: observed)) as meter:
        lags = []
        for observed[TP] in (0, 4, 4, 5, 5):  # 5 is after the last record and before the marker of its transaction
            lags.append(lag_of(meter, thorough=False))

    assert [(each.records, each.exact) for each in lags] == [(3, True), (1, True), (1, True), (0, True), (0, True)]


def test_an_external_offset_reset_has_no_effect_and_is_reported(
    broker: KafkaBroker, settings: LoaderSettings, kafka: KafkaInUse, url: str
) -> None:
    from kafka import KafkaAdminClient
    from kafka import TopicPartition as ClientPartition
    from kafka.structs import OffsetAndMetadata

    fill(broker, 2)
    with closing(broker.consumer("loader", [TP.topic], "0", in_database=True)) as consumer:
        until(lambda: bool(consumer.poll(0.1, 1).records))  # its position is in the database from now on
    meter = lag_meter_of(settings, url, new_broker(settings, url), in_database=True)
    before = lag_of(meter)
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.alter_group_offsets(
            f"{settings.kafka.environment}.loader", {ClientPartition(*TP): OffsetAndMetadata(3, "", -1)}
        )

    with structlog.testing.capture_logs() as logs:
        after = lag_of(meter)
    ignored = meter.ignored_offsets()
    meter.close()

    assert (before.ignored_group_offset, after.ignored_group_offset) == (None, 3)
    assert (after.position, after.records) == (before.position, before.records) == (0, 2)
    assert ignored == {"waiting/0": 3}
    assert [each["log_level"] for each in logs if each["event"] == "group_offset_ignored"] == ["warning"]


def test_observed_positions_are_those_of_live_replicas(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.observed, ops.replicas")
        connection.execute(
            "INSERT INTO ops.replicas (service, replica, pid, admin_url, state, ready, started_at, seen_at)"
            " VALUES ('loader', 'a', 1, '', 'running', true, now(), now()),"
            " ('loader', 'gone', 1, '', 'running', true, now(), now() - interval '1 min')"
        )
        connection.execute(
            "INSERT INTO ops.observed (service, replica, topic, p, state, seq, position) VALUES"
            " ('loader', 'a', 't', 0, 'running', 1, 7), ('loader', 'gone', 't', 0, 'running', 1, 9),"
            " ('loader', 'a', 't', 1, 'running', 1, NULL)"
        )
    observed = ObservedPositions(url, "loader")

    positions = observed()
    observed.close()

    assert positions == {TopicPartition("t", 0): 7}


def test_without_the_database_there_are_no_observed_positions() -> None:
    assert ObservedPositions("host=127.0.0.1 port=1 dbname=nowhere", "loader")() == {}


def test_offsets_that_were_removed_before_the_position_reached_them_are_counted(
    broker: KafkaBroker, settings: LoaderSettings, kafka: KafkaInUse, url: str
) -> None:
    """On Kafka, markers of transactions are among them: here every second offset."""
    from kafka import KafkaAdminClient
    from kafka import TopicPartition as ClientPartition

    fill(broker, 4)
    with closing(broker.consumer("loader", [TP.topic], "0", in_database=True)) as consumer:
        until(lambda: bool(consumer.poll(0.1, 1).records))  # its position, 0, is in the database from now on
    with closing(lag_meter_of(settings, url, new_broker(settings, url), in_database=True)) as meter:
        before = meter.count_removed([TP.topic])
        with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
            admin.delete_records({ClientPartition(*TP): 4})

        until(lambda: meter.count_removed([TP.topic]) == {TP: 4})

    assert before == {TP: 0}
