"""A process that triggers a fault of kafka-python, for tests: python -m tests.kafka.client_faults CASE BOOTSTRAP ...

It prints a word for each step. A word that is not printed shows the fault.
"""

from __future__ import annotations

import sys
from uuid import uuid4

from kafka import KafkaConsumer, KafkaProducer
from kafka.net.compat import KafkaNetClient

from shared.broker.kafka.workarounds import SafeClient


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def commit(bootstrap: str, topic: str, client: str) -> None:
    """Begins a transaction and commits it when it reads a line."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=f"trapped-{uuid4().hex}",
        reconnect_backoff_max_ms=1000,
        kafka_client=SafeClient if client == "safe" else KafkaNetClient,
    )
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, b"in a transaction").get(10)
    say("begun")
    sys.stdin.readline()
    producer.commit_transaction()
    say("committed")


def poll(bootstrap: str, topic: str, values: str) -> None:
    """Polls repeatedly; with `int` the library decodes the values, with `bytes` it does not."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        value_deserializer=int if values == "int" else None,
    )
    while True:
        try:
            say("records" if consumer.poll(timeout_ms=500) else "nothing")
        except ValueError:
            say("refused")


if __name__ == "__main__":
    case, *arguments = sys.argv[1:]
    {"commit": commit, "poll": poll}[case](*arguments)
