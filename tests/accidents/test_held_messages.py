"""A restore of an older backup, to its end: people receive a message twice only if an operator releases it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from headrace.cli import command
from services.notifier.channels.base import Message, Receipt
from services.notifier.delivery.channel_loop import DeliveryOptions
from services.notifier.delivery.sender import Sender
from services.notifier.pacing import DeliveryPolicy, RateLimit
from services.notifier.sending_hold import SendingStatus
from services.notifier.storage.postgres_sending_hold import discard_until, release_sending
from shared.broker.contract import Broker
from shared.database.connection import limited_connection
from shared.settings.sections import KafkaSettings
from tests.accidents.conftest import Database
from tests.accidents.pipeline import OpenBroker, publish, running
from tests.services.loader.facts import settled
from tests.waiting import DEADLINE_S, wait_until

# The library leaves refused sockets open.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


class People:
    """A channel that counts what people receive, by the key of the event."""

    name, rate = "console", RateLimit(100_000, 100_000)

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()

    def send(self, message: Message) -> Receipt:
        self.received[message.event_key] += 1
        return Receipt()

    def wait_for(self, number: int) -> None:
        wait_until(lambda: self.received[settled(number).event_key] > 0, f"the message about {number}")


@contextmanager
def sending_to(people: People, conninfo: str) -> Iterator[SendingStatus]:
    status = SendingStatus(lambda _: None)
    options = DeliveryOptions(DeliveryPolicy(poll_s=0.05), lambda *_: None, on_hold=status.update)
    sender = Sender(partial(limited_connection, conninfo, "sender", DEADLINE_S), [people], options)
    stop = threading.Event()
    thread = threading.Thread(target=sender.run, args=(stop,))
    thread.start()
    try:
        yield status
    finally:
        stop.set()
        thread.join()


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def installation(
    request: pytest.FixtureRequest, own_database: Database, kafka_settings: KafkaSettings, tmp_path: Path
) -> tuple[OpenBroker, list[str]]:
    """How to open the broker, and the options of commands."""
    opener: Callable[[], Broker] = request.getfixturevalue(f"open_{request.param}")
    config = tmp_path / "headrace.yaml"
    broker = "embedded"
    if request.param == "kafka":
        broker = f"kafka://{request.getfixturevalue('own_kafka').bootstrap}"
    config.write_text(
        f"broker: {{url: '{broker}', partitions: 1}}\nkafka: {{environment: '{kafka_settings.environment}'}}\n"
    )
    return opener, ["--data-dir", str(own_database.server.data_dir), "--config", str(config)]


def test_after_a_restore_no_message_is_sent_twice(
    installation: tuple[OpenBroker, list[str]],
    own_database: Database,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    open_broker, options = installation
    people, url = People(), own_database.url
    with running(open_broker, url) as pipeline, sending_to(people, url):
        publish(open_broker, 1)
        pipeline.wait_until_told(1)
        people.wait_for(1)
    assert command(["backup", str(tmp_path / "backup"), *options]) == 0, capfd.readouterr().err
    with running(open_broker, url) as pipeline, sending_to(people, url):
        publish(open_broker, 2)
        pipeline.wait_until_told(2)
        people.wait_for(2)
        log_is_in_the_database = not pipeline.brokers[0].has_outbox

    restored = command(["restore", str(tmp_path / "backup"), "--replace", "headrace", *options])

    assert restored == 0, capfd.readouterr().err
    with running(open_broker, url) as pipeline, sending_to(people, url) as status:
        if log_is_in_the_database:
            publish(open_broker, 2)
        pipeline.wait_until_told(2)
        wait_until(lambda: "headrace notifications release" in status.problem(), "the hold")
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT clock_timestamp()").fetchone()
            assert row is not None
            assert discard_until(connection, row[0], "people have it") == 1
        publish(open_broker, 9)
        pipeline.wait_until_told(9)
        with psycopg.connect(url) as connection:
            assert release_sending(connection)
        people.wait_for(9)

    assert people.received == {settled(number).event_key: 1 for number in (1, 2, 9)}
