"""A new, restored or failed-over database: the services notice it by themselves, and a new event reaches predictor and
notifier."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from headrace.cli import command
from shared.broker.contract import Broker, NewRecord
from shared.broker.kafka.broker import KafkaBroker
from shared.settings.sections import KafkaSettings
from shared.topics import LOADED
from tests.accidents.conftest import Database
from tests.accidents.pipeline import publish, running
from tests.contract.records import read_all
from tests.kafka.server import KafkaServer
from tests.services.loader.facts import settled
from tests.waiting import wait_until

# The library leaves refused sockets open.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def open_broker(request: pytest.FixtureRequest) -> Callable[[], Broker]:
    opener: Callable[[], Broker] = request.getfixturevalue(f"open_{request.param}")
    return opener


def test_a_backup_restored_while_everything_runs(open_broker: Callable[[], Broker], own_database: Database) -> None:
    """The services run on and are not told. The events after the backup come again or, with the log in the same
    database, are published again."""
    with closing(open_broker()) as broker:
        log_is_in_the_database = not broker.has_outbox
    with running(open_broker, own_database.url) as pipeline:
        publish(open_broker, 1, 2)
        pipeline.wait_until_told(1, 2)
        own_database.back_up()
        publish(open_broker, 3, 4, 5)
        pipeline.wait_until_told(3, 4, 5)

        own_database.restore()

        if log_is_in_the_database:
            publish(open_broker, 3)
        publish(open_broker, 9)
        pipeline.wait_until_told(9)
        pipeline.wait_until_told(3)


def test_a_backup_restored_while_the_services_are_stopped(
    open_broker: Callable[[], Broker], own_database: Database
) -> None:
    with running(open_broker, own_database.url) as pipeline:
        publish(open_broker, 1)
        pipeline.wait_until_told(1)
    own_database.back_up()
    with running(open_broker, own_database.url) as pipeline:
        publish(open_broker, 2, 3, 4)
        pipeline.wait_until_told(2, 3, 4)

    own_database.restore()

    with running(open_broker, own_database.url) as pipeline:
        publish(open_broker, 9)
        pipeline.wait_until_told(9)


def test_a_failover_that_lost_the_last_commits(open_broker: Callable[[], Broker], own_database: Database) -> None:
    """Nothing else happens after it, so nothing but the services' own checks can show what is missing."""
    with running(open_broker, own_database.url) as pipeline:
        pipeline.source.numbers = [1, 2]
        pipeline.wait_until_told(1, 2)
        own_database.back_up()
        pipeline.source.numbers = [1, 2, 3]
        pipeline.wait_until_told(3)
        pipeline.predicted.clear()

        own_database.fail_over()
        wait_until(lambda: settled(3).event_key in pipeline.notified(), forgive=psycopg.Error, poll_s=0.1)

        pipeline.source.numbers = [1, 2, 3, 9]
        pipeline.wait_until_told(9)


@pytest.mark.kafka
def test_a_new_database_beside_an_old_kafka_relays_its_outbox_from_the_begin(
    own_kafka: KafkaServer,
    own_database: Database,
    open_kafka: Callable[[], KafkaBroker],
    kafka_settings: KafkaSettings,
    tmp_path: Path,
) -> None:
    with running(open_kafka, own_database.url) as pipeline:
        publish(open_kafka, 1, 2, 3)
        pipeline.wait_until_told(1, 2, 3)
    (tmp_path / "new").mkdir()
    new = Database(tmp_path / "new")
    try:

        def open_new() -> KafkaBroker:
            return KafkaBroker(f"kafka://{own_kafka.bootstrap}", kafka_settings, new.url)

        with running(open_new, new.url) as pipeline:
            publish(open_new, 9)
            pipeline.wait_until_told(9)
    finally:
        new.server.stop()


@pytest.mark.kafka
def test_a_restore_by_the_command_relays_the_outbox_from_its_begin(
    own_kafka: KafkaServer,
    own_database: Database,
    open_kafka: Callable[[], KafkaBroker],
    kafka_settings: KafkaSettings,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Also what Kafka already has: the restored database cannot know what it holds."""
    config = tmp_path / "headrace.yaml"
    config.write_text(
        f"broker: {{url: 'kafka://{own_kafka.bootstrap}', partitions: 1}}\n"
        f"kafka: {{environment: '{kafka_settings.environment}'}}\n"
    )
    options = ["--data-dir", str(own_database.server.data_dir), "--config", str(config)]

    with running(open_kafka, own_database.url) as pipeline:
        publish(open_kafka, 1, 2)
        pipeline.wait_until_told(1, 2)
    waiting = append_to_outbox(open_kafka)
    assert command(["backup", str(tmp_path / "backup.tar"), *options]) == 0, capfd.readouterr().err
    with running(open_kafka, own_database.url) as pipeline:
        wait_until(lambda: loaded(open_kafka).count(waiting) == 2)
        publish(open_kafka, 3)
        pipeline.wait_until_told(3)

    restored = command(["restore", str(tmp_path / "backup.tar"), "--replace", "headrace", *options])
    assert restored == 0, capfd.readouterr().err

    with running(open_kafka, own_database.url) as pipeline:
        wait_until(lambda: loaded(open_kafka).count(waiting) == 3)
        publish(open_kafka, 9)
        pipeline.wait_until_told(9)


def append_to_outbox(open_kafka: Callable[[], KafkaBroker]) -> bytes:
    """Append a loaded record again, as the loader does. Returns its value."""
    with closing(open_kafka()) as broker, closing(broker.producer("loader-0", in_database=True)) as producer:
        record = read_all(broker, LOADED)[0]
        with producer.db_unit() as unit:
            unit.append([NewRecord(LOADED, record.key, record.value, record.headers)])
            unit.commit()
    return record.value


def loaded(open_kafka: Callable[[], KafkaBroker]) -> list[bytes]:
    with closing(open_kafka()) as broker:
        return [record.value for record in read_all(broker, LOADED)]
