"""Reads Kafka without a group, and holds the settings of all readers and consumers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer as Client
from kafka import TopicPartition as ClientPartition
from kafka import errors
from kafka.consumer.fetcher import ConsumerRecord

from shared.broker.contract import OffsetsGone, Record, TopicPartition
from shared.broker.kafka.client import translate_errors
from shared.errors import TransientError

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
        self,
        settings: Mapping[str, Any],
        tps: Sequence[TopicPartition],
        *,
        uncommitted: bool = False,
        complete: bool = False,
    ) -> None:
        """`uncommitted`: also read records of open and aborted transactions. `complete`: as in Broker.reader."""
        level = {"isolation_level": "read_uncommitted"} if uncommitted else {}
        reset = {"auto_offset_reset": "none"} if complete else {}
        with translate_errors("reader"):
            self._client = Client(**{**settings, **READER_SETTINGS, **level, **reset}, group_id=None)
            self._client.assign([ClientPartition(*tp) for tp in tps])
            self._client.seek_to_beginning()

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        with translate_errors("reader"):
            try:
                batches = self._client.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
            except (errors.OffsetOutOfRangeError, errors.LogTruncationError) as error:
                raise self._offsets_gone() from error
        return [record_of(each) for batch in batches.values() for each in batch]

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._client.seek(ClientPartition(*tp), offset)

    def position(self, tp: TopicPartition) -> int:
        """The offset of the next record that poll would return, or the end offset."""
        with translate_errors("reader"):
            return int(self._client.position(ClientPartition(*tp)))

    def close(self) -> None:
        close_client(self._client)

    def _offsets_gone(self) -> OffsetsGone:
        """The client's error names a position that may not be the first one that is gone."""
        places = sorted(self._client.assignment())
        begins, ends = self._client.beginning_offsets(places), self._client.end_offsets(places)
        for place in places:
            position = int(self._client.position(place))
            if not begins[place] <= position <= ends[place]:
                return OffsetsGone(TopicPartition(*place), position, int(begins[place]))
        raise TransientError("reader: Kafka no longer has the records at a position")


def close_client(client: Client) -> None:
    with suppress(errors.KafkaError):
        client.close(autocommit=False, timeout_ms=int(CLOSE_TIMEOUT_S * 1000))


def record_of(record: ConsumerRecord) -> Record:
    return Record(
        record.topic, record.partition, record.offset, record.timestamp, record.key or b"", record.value or b"",
        dict(record.headers),
    )  # fmt: skip
