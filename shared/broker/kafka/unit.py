"""Implements the units of Kafka: each is one transaction, begun at `commit` so that it is open only briefly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from kafka import KafkaProducer as Client
from kafka import OffsetAndMetadata, errors
from kafka import TopicPartition as ClientPartition
from kafka.structs import ConsumerGroupMetadata

from shared.broker.contract import NewRecord, Ownership, TopicPartition
from shared.broker.kafka.client import REQUEST_TIMEOUT_S, reason_of
from shared.broker.kafka.topics import KafkaTopics
from shared.broker.record_size import size_of
from shared.errors import Aborted, BrokerError, ConfigError, Fenced, HeadraceError, RecordTooLarge, Unknown
from shared.topics import partition_of

DELIVERY_TIMEOUT_S = 30
BATCH_BYTES = 256 * 1024

_FENCED = (
    errors.ProducerFencedError,
    errors.InvalidProducerEpochError,
    errors.FencedInstanceIdError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.TransactionalIdNotFoundError,
)
_SIZE_ERRORS = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)

OutgoingRecord = tuple[str, bytes, bytes, list[tuple[str, bytes]], int]
"""(topic, value, key, headers, partition), in the order of the client's parameters."""


@dataclass
class HeldPartition:
    """One period of ownership of a partition. It becomes invalid when the partition is reassigned, when its committed
    position is reloaded, and when a unit that advances it fails.

    `committed`: the committed position, None if there is none yet. `leader_epoch`: that of the last polled record.
    """

    kafka_id: UUID
    committed: int | None = None
    leader_epoch: int = -1
    valid: bool = True


@dataclass(frozen=True)
class Membership:
    """Kafka's ownership token: the group membership when the poll returned, and the partitions held then."""

    group: ConsumerGroupMetadata
    held: Mapping[TopicPartition, HeldPartition]

    @property
    def partitions(self) -> frozenset[TopicPartition]:
        return frozenset(self.held)


def topic_id_of(metadata: str | None) -> UUID | None:
    """The topic's id in the metadata of a committed offset; None if it was committed by an older version."""
    try:
        return UUID((metadata or "").rpartition(" ")[2])
    except ValueError:
        return None


class KafkaUnit:
    """Collects records, positions and cursors, and sends them as one transaction at commit."""

    def __init__(self, client: Client, topics: KafkaTopics, retire_producer: Callable[[], None]) -> None:
        self._client = client
        self._topics = topics
        self._retire_producer = retire_producer
        self._records: list[NewRecord] = []
        self._cursors: list[tuple[str, str, bytes]] = []
        self._advances: dict[tuple[ConsumerGroupMetadata, TopicPartition], tuple[HeldPartition, OffsetAndMetadata]] = {}
        self._is_finished = False

    def append(self, records: Sequence[NewRecord]) -> None:
        self._records.extend(records)

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        if not isinstance(token, Membership):
            raise BrokerError(f"expected an ownership token of Kafka, got {type(token).__name__}")
        for tp, offset in offsets.items():
            held_partition = token.held.get(tp)
            if held_partition is None or not held_partition.valid:
                raise Fenced(f"this member no longer owns {tp.topic}/{tp.partition}")
            metadata = f"{'' if ctl_seq is None else ctl_seq} {held_partition.kafka_id}"
            self._advances[token.group, tp] = (
                held_partition, OffsetAndMetadata(offset, metadata, held_partition.leader_epoch)
            )  # fmt: skip

    def cursor_set(self, topic: str, key: str, value: bytes) -> None:
        self._cursors.append((topic, key, value))

    def commit(self) -> None:
        if self._is_finished:
            raise BrokerError("this unit is already committed or aborted: create another")
        self._is_finished = True
        if not (self._records or self._cursors or self._advances):
            return
        to_send = [*self._outgoing_records(), *(self._cursor_record(*cursor) for cursor in self._cursors)]
        if any(not held_partition.valid for held_partition, _ in self._advances.values()):
            raise Fenced("this member no longer owns a partition of the unit")
        try:
            self._prepare(to_send)
            self._finish()
        except BaseException:
            for held_partition, _ in self._advances.values():
                held_partition.valid = False
            self._retire_producer()
            raise
        for held_partition, offset in self._advances.values():
            held_partition.committed = offset.offset

    def abort(self) -> None:
        """Nothing needs to be undone: before `commit` nothing was sent. A failed `commit` has closed the producer, and
        the slot's next producer ends the transaction.
        """
        self._is_finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _prepare(self, to_send: Sequence[OutgoingRecord]) -> None:
        """Send all but the commit request. If this raises (Fenced, Aborted, RecordTooLarge, ConfigError), nothing takes
        effect."""
        try:
            self._client.begin_transaction()
            futures = [self._send(record) for record in to_send]
            self._client.flush(timeout=DELIVERY_TIMEOUT_S + REQUEST_TIMEOUT_S)
            # The library commits even if some records of the transaction were not delivered: check each of them.
            for record, future in zip(to_send, futures, strict=True):
                if isinstance(future.exception, _SIZE_ERRORS):
                    raise _too_large(record, future.exception)
                if not future.succeeded():
                    raise future.exception or errors.KafkaTimeoutError("a record was not delivered")
            for group, offsets in self._offsets().items():
                self._client.send_offsets_to_transaction(offsets, group)
        except _FENCED as error:
            raise Fenced(f"another process has taken the slot or the partitions: {reason_of(error)}") from error
        except errors.KafkaError as error:
            raise Aborted(f"the transaction was aborted: {reason_of(error)}") from error

    def _send(self, record: OutgoingRecord) -> Any:
        try:
            return self._client.send(*record)
        except _SIZE_ERRORS as error:
            raise _too_large(record, error) from error

    def _finish(self) -> None:
        try:
            self._client.commit_transaction()
        except (errors.ProducerFencedError, errors.InvalidProducerEpochError) as error:
            raise Fenced(f"another process has taken the slot: {reason_of(error)}") from error
        except errors.KafkaError as error:
            raise Unknown(f"no reply to commit: {reason_of(error)}") from error

    def _offsets(self) -> dict[ConsumerGroupMetadata, dict[ClientPartition, OffsetAndMetadata]]:
        grouped: dict[ConsumerGroupMetadata, dict[ClientPartition, OffsetAndMetadata]] = {}
        for (group, tp), (_, offset) in self._advances.items():
            grouped.setdefault(group, {})[ClientPartition(*tp)] = offset
        return grouped

    def _outgoing_records(self) -> list[OutgoingRecord]:
        """Every record with its partition. Each topic is looked up only once, as there may be thousands of records."""
        partitions = {name: self._partition_count(name) for name in {record.topic for record in self._records}}
        outgoing: list[OutgoingRecord] = []
        for topic, key, value, headers, fixed_partition in self._records:
            p = partition_of(key, partitions[topic]) if fixed_partition is None else fixed_partition
            if not 0 <= p < partitions[topic]:
                raise ConfigError(f"partition {topic}/{p} does not exist")
            outgoing.append((topic, value, key, list(headers.items()), p))
        return outgoing

    def _partition_count(self, name: str) -> int:
        """The number of partitions of a topic of records. Raises ConfigError for a compacted topic."""
        topic = self._topics.get(name)
        if topic.compacted:
            raise ConfigError(f"topic {name!r} is compacted and holds keyed state: use cursor_set")
        return topic.partitions

    def _cursor_record(self, topic: str, key: str, value: bytes) -> OutgoingRecord:
        return topic, value, key.encode(), [], partition_of(key.encode(), self._topics.get(topic).partitions)


def _too_large(record: OutgoingRecord, error: BaseException) -> HeadraceError:
    """The error for a record that was refused. The broker limits a batch: a small record does not exceed its limit, so
    that limit is then too low for any batch."""
    topic, value, key, headers, p = record
    size = size_of(NewRecord(topic, key, value, dict(headers), p))
    if size <= BATCH_BYTES:
        return ConfigError(
            f"topic {topic!r} refuses a batch of {BATCH_BYTES:,} bytes: {reason_of(error)}. `headrace migrate` sets its"
            " max.message.bytes"
        )
    return RecordTooLarge(topic, size, reason_of(error))
