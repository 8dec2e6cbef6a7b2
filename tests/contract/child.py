"""A child process that the contract suite kills and stops: python -m tests.contract.child CONFIG_FILE ROLE ..."""

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
from tests.contract.conftest import timeouts
from tests.contract.records import advance, new_record, poll_some


def open_broker_of(config_file: Path) -> Broker:
    config = json.loads(config_file.read_text())
    limits = timeouts(config["lease_s"])
    if "kafka" in config:
        return KafkaBroker(config["url"], KafkaSettings(**config["kafka"]), config["conninfo"], limits)
    return PostgresBroker(config["conninfo"], limits)


def print_line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def member(broker: Broker, topic: str, slot: str) -> None:
    """Owns partitions and reads them without advancing."""
    consumer = broker.consumer("group", [topic], slot)
    owned = -1
    while True:
        consumer.poll(0.05, 10)
        if len(consumer.assignment()) != owned:
            owned = len(consumer.assignment())
            print_line(f"owns {owned}")


def appender(broker: Broker, topic: str) -> None:
    """Appends units of five records to all partitions as fast as possible."""
    producer = broker.producer("appender")
    number = 0
    while True:
        with producer.unit() as unit:
            unit.append([new_record(topic, f"{number}/{part}", str(part)) for part in range(5)])
            unit.commit()
        number += 1
        print_line(str(number))


def hanging(broker: Broker, topic: str) -> None:
    """Appends a record and waits to be killed before the commit."""
    with broker.producer("hanging").unit() as unit:
        unit.append([new_record(topic, "never")])
        print_line("appended")
        signal.pause()


def worker(broker: Broker, topic: str, slot: str) -> None:
    """Stops itself before the commit; prints the error of the commit after SIGCONT."""
    consumer, producer = broker.consumer("group", [topic], slot), broker.producer(slot)
    polled = poll_some(consumer)
    with producer.unit() as unit:
        unit.append([new_record("other", "by a zombie")])
        advance(unit, polled)
        print_line("polled")
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            unit.commit()
        except BrokerError as error:
            print_line(type(error).__name__)


def locking(broker: Broker, topic: str) -> None:
    """Stops itself inside a unit while it holds the locks of a commit; continues after SIGCONT."""
    producer = broker.producer("locking", in_database=True)
    with producer.db_unit() as unit:
        unit.append([new_record(topic, "late")])
        unit.connection.execute("SELECT FROM broker.partitions FOR UPDATE")
        print_line("stopping")
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            unit.commit()
        except BrokerError as error:
            print_line(type(error).__name__)


ROLES = {"member": member, "appender": appender, "hanging": hanging, "locking": locking, "worker": worker}

if __name__ == "__main__":
    config_file, role, *arguments = sys.argv[1:]
    ROLES[role](open_broker_of(Path(config_file)), *arguments)  # type: ignore[operator]
