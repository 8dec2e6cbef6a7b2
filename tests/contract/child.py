"""A process of its own for the contract suite to kill and to stop: python -m tests.contract.child URL_FILE WHAT ..."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from shared.broker.contract import Broker
from shared.broker.kafka.broker import KafkaBroker
from shared.broker.postgres.broker import PostgresBroker
from shared.errors import BrokerError
from shared.settings.sections import KafkaSettings
from tests.contract.conftest import patience
from tests.contract.records import advance, new, poll_some


def broker_of(url_file: Path) -> Broker:
    told = json.loads(url_file.read_text())
    if "kafka" in told:
        return KafkaBroker(told["url"], KafkaSettings(**told["kafka"]), told["conninfo"], patience(told["lease_s"]))
    return PostgresBroker(told["conninfo"], patience(told["lease_s"]))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def member(broker: Broker, topic: str, slot: str) -> None:
    """Owns partitions, and reads them without advancing."""
    consumer = broker.consumer("group", [topic], slot)
    owned = -1
    while True:
        consumer.poll(0.05, 10)
        if len(consumer.assignment()) != owned:
            owned = len(consumer.assignment())
            say(f"owns {owned}")


def appender(broker: Broker, topic: str) -> None:
    """Appends units of five records over all partitions, as fast as it can."""
    producer = broker.producer("appender")
    number = 0
    while True:
        with producer.unit() as unit:
            unit.append([new(topic, f"{number}/{part}", str(part)) for part in range(5)])
            unit.commit()
        number += 1
        say(str(number))


def hanging(broker: Broker, topic: str) -> None:
    """Appends and waits for its end before the commit."""
    with broker.producer("hanging").unit() as unit:
        unit.append([new(topic, "never")])
        say("appended")
        signal.pause()


def worker(broker: Broker, topic: str, slot: str) -> None:
    """Stops itself between its poll and its unit, and tells what became of the unit when it goes on."""
    consumer, producer = broker.consumer("group", [topic], slot), broker.producer(slot)
    polled = poll_some(consumer)
    with producer.unit() as unit:
        unit.append([new("other", "by a zombie")])
        advance(unit, polled)
        say("polled")
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            unit.commit()
        except BrokerError as error:
            say(type(error).__name__)


def stopped(broker: Broker, topic: str) -> None:
    """Stops itself inside a unit, with the locks that a commit takes; goes on when told to."""
    producer = broker.producer("stopped", in_database=True)
    with producer.db_unit() as unit:
        unit.append([new(topic, "late")])
        unit.connection.execute("SELECT FROM broker.partitions FOR UPDATE")
        say("stopping")
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            unit.commit()
        except BrokerError as error:
            say(type(error).__name__)


WHAT = {"member": member, "appender": appender, "hanging": hanging, "stopped": stopped, "worker": worker}

if __name__ == "__main__":
    url_file, what, *arguments = sys.argv[1:]
    WHAT[what](broker_of(Path(url_file)), *arguments)  # type: ignore[operator]
