"""Defines all topics: names, partitions and retention. Settings can override partitions and retention."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

DAY_S = 24 * 60 * 60

RAW = "raw-events"
CLEAN = "clean-events"
LOADED = "loaded-events"
PREDICTIONS = "predictions"
FETCHER_CURSORS = "fetcher-cursors"
# Positions of the relay in each outbox. On Kafka only; the embedded log needs no outbox.
OUTBOX_CURSORS = "outbox-cursors"
# Progress of each replay and redrive, by the id of its operation (shared/runtime/jobs/loop.py).
JOB_CURSORS = "replay-cursors"

SERVICES = ("fetcher", "cleaner", "loader", "predictor", "notifier")


@dataclass(frozen=True)
class TopicSpec:
    """The specification of a topic. A `compacted` topic is keyed state (cursors): one value per key. On Kafka, a value
    that was not set again within `retention_s` is removed."""

    name: str
    partitions: int = 6
    retention_s: float | None = 14 * DAY_S
    retention_bytes: int | None = None
    compacted: bool = False


def dead_letter_topic(service: str) -> str:
    return f"{service}.dlq"


def retry_topic(service: str) -> str:
    return f"{service}.retry"


# Dead letters are kept longer than the records they were made from, because an operator must look at them.
DEAD_LETTERS = tuple(dead_letter_topic(service) for service in SERVICES)
# Redriven dead letters, one topic per service.
RETRY_TOPICS = tuple(retry_topic(service) for service in SERVICES)
# Topics that services append to in their database transaction. With Kafka, the outbox relay copies them to Kafka.
OUTBOX_TOPICS = (LOADED, dead_letter_topic("loader"), dead_letter_topic("notifier"))
# Services whose positions are in the database with any broker. The offsets of their Kafka groups mean nothing.
DATABASE_POSITION_SERVICES = ("loader", "notifier")
# Cursor topics that can be set in a database transaction. With Kafka, services that write rows keep theirs in the
# database.
DATABASE_CURSOR_TOPICS = (JOB_CURSORS,)
STREAMS = (RAW, CLEAN, LOADED, PREDICTIONS)
# The streams that each service reads and writes.
READS = {
    "fetcher": (),
    "cleaner": (RAW,),
    "loader": (CLEAN, PREDICTIONS),
    "predictor": (LOADED,),
    "notifier": (PREDICTIONS, LOADED),
}
WRITES = {"fetcher": (RAW,), "cleaner": (CLEAN,), "loader": (LOADED,), "predictor": (PREDICTIONS,), "notifier": ()}


def topic_specs(partitions: int = 6, retention_s: float | None = 14 * DAY_S) -> list[TopicSpec]:
    """The specifications of all topics that the services need."""
    return [
        *(TopicSpec(name, partitions, retention_s) for name in STREAMS),
        *(TopicSpec(name, 1, 90 * DAY_S) for name in DEAD_LETTERS),
        *(TopicSpec(retry_topic(service), 1, 90 * DAY_S) for service in SERVICES),
        TopicSpec(FETCHER_CURSORS, 1, None, compacted=True),
        # A paused job continues from its cursor within this time.
        TopicSpec(JOB_CURSORS, 1, 400 * DAY_S, compacted=True),
    ]


def downstream_of(service: str) -> frozenset[tuple[str, str]]:
    """All direct and indirect consumers of a service's outputs, as pairs of service and stream."""
    consumers: set[tuple[str, str]] = set()
    writers = [service]
    while writers:
        topics_written = WRITES[writers.pop()]
        new = {
            (reader, topic) for reader, topics in READS.items() for topic in topics if topic in topics_written
        } - consumers
        consumers |= new
        writers += [reader for reader, _ in new]
    return frozenset(consumers)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, the same on both brokers. Records with the same key keep their order."""
    return zlib.crc32(key) % partitions
