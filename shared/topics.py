"""Every topic, once: its name, and how it is kept. Partitions and retention are defaults that settings may override."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

DAY_S = 24 * 60 * 60

RAW = "raw-events"
CLEAN = "clean-events"
LOADED = "loaded-events"
PREDICTIONS = "predictions"
FETCHER_CURSORS = "fetcher-cursors"
# How far each outbox has been relayed; on Kafka only (the embedded log needs no outbox).
OUTBOX_CURSORS = "outbox-cursors"
# How far each replay and redrive is, under the id of its operation (shared/runtime/jobs/loop.py).
JOB_CURSORS = "replay-cursors"

SERVICES = ("fetcher", "cleaner", "loader", "predictor", "notifier")


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it should be: `compacted` ones are keyed state (cursors), kept for ever, one value a key."""

    name: str
    partitions: int = 6
    retention_s: float | None = 14 * DAY_S
    retention_bytes: int | None = None
    compacted: bool = False


def dead_letter_topic(service: str) -> str:
    return f"{service}.dlq"


def retry_topic(service: str) -> str:
    return f"{service}.retry"


# Dead letters outlive the records they come from: somebody has to look at them first.
DEAD_LETTERS = tuple(dead_letter_topic(service) for service in SERVICES)
# What is sent back to be tried again, each service's own.
RETRIES = tuple(retry_topic(service) for service in SERVICES)
# What services write together with their rows, in the database; beside Kafka it is relayed from there.
WRITTEN_WITH_ROWS = (LOADED, dead_letter_topic("loader"), dead_letter_topic("notifier"))
# Whose positions lie with their rows, whatever the broker is: what a group of theirs has in Kafka means nothing.
POSITIONS_WITH_ROWS = ("loader", "notifier")
# Keyed state that may be set together with rows; beside Kafka, those who write rows keep theirs in the database.
KEPT_WITH_ROWS = (JOB_CURSORS,)
STREAMS = (RAW, CLEAN, LOADED, PREDICTIONS)
# The streams each service reads, and what comes of them.
READS = {
    "fetcher": (),
    "cleaner": (RAW,),
    "loader": (CLEAN, PREDICTIONS),
    "predictor": (LOADED,),
    "notifier": (PREDICTIONS, LOADED),
}
WRITES = {"fetcher": (RAW,), "cleaner": (CLEAN,), "loader": (LOADED,), "predictor": (PREDICTIONS,), "notifier": ()}


def specs(partitions: int = 6, retention_s: float | None = 14 * DAY_S) -> list[TopicSpec]:
    """All topics that a running Headrace needs."""
    return [
        *(TopicSpec(name, partitions, retention_s) for name in STREAMS),
        *(TopicSpec(name, 1, 90 * DAY_S) for name in DEAD_LETTERS),
        *(TopicSpec(retry_topic(service), 1, 90 * DAY_S) for service in SERVICES),
        TopicSpec(FETCHER_CURSORS, 1, None, compacted=True),
        TopicSpec(JOB_CURSORS, 1, None, compacted=True),
    ]


def downstream_of(service: str) -> frozenset[tuple[str, str]]:
    """Who handles what comes of a service's outputs, however far down: pairs of service and the stream it reads."""
    found: set[tuple[str, str]] = set()
    writers = [service]
    while writers:
        written = WRITES[writers.pop()]
        new = {(reader, topic) for reader, topics in READS.items() for topic in topics if topic in written} - found
        found |= new
        writers += [reader for reader, _ in new]
    return frozenset(found)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, the same on both brokers. Records of one key share it, which keeps their order."""
    return zlib.crc32(key) % partitions
