"""One atomic step on Kafka: a transaction. Nothing is begun before `commit`, so that it is open for a moment only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer as Client
from kafka import OffsetAndMetadata, errors
from kafka import TopicPartition as ClientPartition
from kafka.structs import ConsumerGroupMetadata

from shared.broker.contract import NewRecord, Ownership, TopicPartition
from shared.broker.kafka_client import ANSWER_S, REQUEST_TIMEOUT_S, reason_of, translated
from shared.broker.kafka_topics import LARGEST_RECORD_BYTES, KafkaTopics
from shared.broker.keys import partition_of
from shared.broker.postgres_unit import PostgresUnit
from shared.errors import Aborted, BrokerError, ConfigError, Fenced, Unknown

# Longer than a broker needs to start after a kill, plus the age of a transaction: one that ends inside that window may
# be taken for aborted without its markers, and its records become visible later (docs/promises.md).
TRANSACTION_TIMEOUT_S = 60
DELIVERY_TIMEOUT_S = 30
BLOCKED_TIMEOUT_S = 10
_BATCH_BYTES = 256 * 1024
# The library sleeps for so long where a transaction follows the one before closely: every one, under load.
_RETRY_PAUSE_MS = 5

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


class LimitedClient(Client):  # type: ignore[misc]  # the library has no types
    """A producer whose transactions' steps do not wait for ever. Pinned below 3.1: the library offers no limit."""

    def __init__(self, answer_s: float, **settings: Any) -> None:
        self._answer_ms = int(answer_s * 1000)
        super().__init__(**settings)

    def send_offsets_to_transaction(
        self, offsets: Mapping[ClientPartition, OffsetAndMetadata], group: ConsumerGroupMetadata
    ) -> None:
        self._answered(self._transaction_manager.send_offsets_to_transaction(offsets, group))

    def commit_transaction(self) -> None:
        self._answered(self._transaction_manager.begin_commit())

    def _answered(self, result: Any) -> None:
        self._sender.wakeup()
        if not result.wait(timeout_ms=self._answer_ms):
            raise errors.KafkaTimeoutError(f"no answer for {self._answer_ms / 1000:.0f} s")


class KafkaProducer:
    """Makes units, one at a time. Making another producer of the slot fences this one, and ends what it left open.

    After a unit failed it makes no more: the library keeps parts of a failed transaction for the next.
    """

    def __init__(
        self, settings: Mapping[str, Any], topics: KafkaTopics, transactional_id: str, answer_s: float = ANSWER_S
    ) -> None:
        self._topics = topics
        self._spent = False
        with translated(f"producer {transactional_id!r}"):
            self._client = LimitedClient(
                answer_s,
                **settings,
                transactional_id=transactional_id,
                transaction_timeout_ms=TRANSACTION_TIMEOUT_S * 1000,
                delivery_timeout_ms=DELIVERY_TIMEOUT_S * 1000,
                max_block_ms=BLOCKED_TIMEOUT_S * 1000,
                retry_backoff_ms=_RETRY_PAUSE_MS,
                linger_ms=5,
                batch_size=_BATCH_BYTES,
                max_request_size=LARGEST_RECORD_BYTES,
                compression_type="lz4",
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
            try:
                self._client.init_transactions()
            except BaseException:
                self.close()
                raise

    def unit(self) -> KafkaUnit:
        if self._spent:
            raise Fenced("a unit of this producer failed: make another producer, then reload the consumer")
        return KafkaUnit(self._client, self._topics, self._spend)

    def db_unit(self) -> PostgresUnit:
        raise BrokerError("this producer writes to Kafka: ask for one with in_database=True")

    def close(self) -> None:
        """At once: what is worth waiting for was committed, and the rest must not be sent."""
        self._spent = True
        with suppress(errors.KafkaError):
            self._client.close(timeout=0)
        # The library flushes first, and gives up with an error where the broker is away; its thread would go on.
        self._client._sender.force_close()  # pinned below 3.1; there is no public way

    def _spend(self) -> None:
        self.close()


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
