"""One atomic step on Kafka: a transaction. Nothing is begun before `commit`, so that it is open for a moment only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from kafka import KafkaProducer as Client
from kafka import OffsetAndMetadata, errors
from kafka import TopicPartition as ClientPartition
from kafka.structs import ConsumerGroupMetadata

from shared.broker.contract import NewRecord, Ownership, TopicPartition
from shared.broker.kafka.client import REQUEST_TIMEOUT_S, reason_of
from shared.broker.kafka.topics import LARGEST_RECORD_BYTES, KafkaTopics
from shared.errors import Aborted, BrokerError, ConfigError, Fenced, Unknown
from shared.topics import partition_of

DELIVERY_TIMEOUT_S = 30

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


Sending = tuple[str, bytes, bytes, list[tuple[str, bytes]], int]
"""Topic, value, key, headers, partition: the order in which the client takes them."""


@dataclass
class Holding:
    """A partition that is ours. Not valid any more: it went to somebody else, or positions were read again since."""

    valid: bool = True


@dataclass(frozen=True)
class Membership:
    """Kafka's ownership token: who we were in the group when the poll returned, and what we held."""

    group: ConsumerGroupMetadata
    held: Mapping[TopicPartition, Holding]

    @property
    def partitions(self) -> frozenset[TopicPartition]:
        return frozenset(self.held)


class KafkaUnit:
    """Records, positions and cursors are gathered, and sent as one transaction at commit."""

    def __init__(self, client: Client, topics: KafkaTopics, spend: Callable[[], None]) -> None:
        self._client = client
        self._topics = topics
        self._spend = spend
        self._records: list[NewRecord] = []
        self._cursors: list[tuple[str, str, bytes]] = []
        self._advances: dict[tuple[ConsumerGroupMetadata, TopicPartition], tuple[Holding, OffsetAndMetadata]] = {}
        self._over = False

    def append(self, records: Sequence[NewRecord]) -> None:
        self._records.extend(records)

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        if not isinstance(token, Membership):
            raise BrokerError(f"expected a token of Kafka, got {type(token).__name__}")
        for tp, offset in offsets.items():
            holding = token.held.get(tp)
            if holding is None or not holding.valid:
                raise Fenced(f"{tp.topic}/{tp.partition} is not ours any more")
            obeyed = "" if ctl_seq is None else str(ctl_seq)
            self._advances[token.group, tp] = (holding, OffsetAndMetadata(offset, obeyed, -1))

    def cursor_set(self, topic: str, key: str, value: bytes) -> None:
        self._cursors.append((topic, key, value))

    def commit(self) -> None:
        if self._over:
            raise BrokerError("this unit is over: make another")
        self._over = True
        if not (self._records or self._cursors or self._advances):
            return
        to_send = [*self._placed(), *(self._keyed(*cursor) for cursor in self._cursors)]
        if any(not holding.valid for holding, _ in self._advances.values()):
            raise Fenced("a partition of this unit is not ours any more")
        try:
            self._prepare(to_send)
            self._finish()
        except BaseException:
            for holding, _ in self._advances.values():
                holding.valid = False
            self._spend()
            raise

    def abort(self) -> None:
        """Nothing was sent yet, or all of it was settled by commit."""
        self._over = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _prepare(self, to_send: Sequence[Sending]) -> None:
        """Everything but the decision. Raises Fenced or Aborted: none of it counts."""
        try:
            self._client.begin_transaction()
            futures = [self._client.send(*record) for record in to_send]
            self._client.flush(timeout=DELIVERY_TIMEOUT_S + REQUEST_TIMEOUT_S)
            # The library commits a transaction some of whose records were given up: each has to be asked.
            for future in futures:
                if not future.succeeded():
                    raise future.exception or errors.KafkaTimeoutError("a record was not delivered")
            for group, offsets in self._offsets().items():
                self._client.send_offsets_to_transaction(offsets, group)
        except _FENCED as error:
            raise Fenced(f"somebody else has the slot or the partitions: {reason_of(error)}") from error
        except errors.MessageSizeTooLargeError as error:
            raise ConfigError(
                f"a record is larger than its topic takes ({LARGEST_RECORD_BYTES} bytes): {reason_of(error)}"
            ) from error
        except errors.KafkaError as error:
            raise Aborted(f"the transaction was given up: {reason_of(error)}") from error

    def _finish(self) -> None:
        try:
            self._client.commit_transaction()
        except (errors.ProducerFencedError, errors.InvalidProducerEpochError) as error:
            raise Fenced(f"somebody else has the slot: {reason_of(error)}") from error
        except errors.KafkaError as error:
            raise Unknown(f"no word on the commit: {reason_of(error)}") from error

    def _offsets(self) -> dict[ConsumerGroupMetadata, dict[ClientPartition, OffsetAndMetadata]]:
        grouped: dict[ConsumerGroupMetadata, dict[ClientPartition, OffsetAndMetadata]] = {}
        for (group, tp), (_, offset) in self._advances.items():
            grouped.setdefault(group, {})[ClientPartition(*tp)] = offset
        return grouped

    def _placed(self) -> list[Sending]:
        """Every record with its partition; topics are looked up once each, for there may be thousands of records."""
        partitions = {name: self._streamed(name) for name in {record.topic for record in self._records}}
        placed: list[Sending] = []
        for topic, key, value, headers, named in self._records:
            p = partition_of(key, partitions[topic]) if named is None else named
            if not 0 <= p < partitions[topic]:
                raise ConfigError(f"no such partition: {topic}/{p}")
            placed.append((topic, value, key, list(headers.items()), p))
        return placed

    def _streamed(self, name: str) -> int:
        topic = self._topics.get(name)
        if topic.compacted:
            raise ConfigError(f"topic {name!r} holds keyed state: use cursor_set")
        return topic.partitions

    def _keyed(self, topic: str, key: str, value: bytes) -> Sending:
        return topic, value, key.encode(), [], partition_of(key.encode(), self._topics.get(topic).partitions)
