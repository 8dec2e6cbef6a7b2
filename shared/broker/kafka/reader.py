"""Reads Kafka without a group, and holds the settings of all readers and consumers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer as Client
from kafka import TopicPartition as ClientPartition
from kafka import errors
from kafka.consumer.fetcher import ConsumerRecord

from shared.broker.contract import Record, TopicPartition
from shared.broker.kafka.client import translate_errors

# The partitions of one broker are fetched together: an idle partition delays the others by up to this time.
FETCH_WAIT_MS = 50
LARGEST_FETCH_BYTES = 8 * 1024 * 1024
CLOSE_TIMEOUT_S = 2.0

READER_SETTINGS = {
    "isolation_level": "read_committed",
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "fetch_max_wait_ms": FETCH_WAIT_MS,
    "max_partition_fetch_bytes": LARGEST_FETCH_BYTES,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
    # No deserializers: if one raises, poll loops endlessly.
}


class KafkaReader:
    """Reads partitions from given offsets. Commits no positions."""

    def __init__(
        self, settings: Mapping[str, Any], tps: Sequence[TopicPartition], *, uncommitted: bool = False
    ) -> None:
        """`uncommitted`: also read records of open and aborted transactions."""
        level = {"isolation_level": "read_uncommitted"} if uncommitted else {}
        with translate_errors("reader"):
            self._client = Client(**{**settings, **READER_SETTINGS, **level}, group_id=None)
            self._client.assign([ClientPartition(*tp) for tp in tps])
            self._client.seek_to_beginning()

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        with translate_errors("reader"):
            batches = self._client.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        return [record_of(each) for batch in batches.values() for each in batch]

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._client.seek(ClientPartition(*tp), offset)

    def position(self, tp: TopicPartition) -> int:
        """The offset of the next record that poll would return, or the end offset."""
        with translate_errors("reader"):
            return int(self._client.position(ClientPartition(*tp)))

    def close(self) -> None:
        close_client(self._client)


def close_client(client: Client) -> None:
    with suppress(errors.KafkaError):
        client.close(autocommit=False, timeout_ms=int(CLOSE_TIMEOUT_S * 1000))


def record_of(record: ConsumerRecord) -> Record:
    return Record(
        record.topic, record.partition, record.offset, record.timestamp, record.key or b"", record.value or b"",
        dict(record.headers),
    )  # fmt: skip
