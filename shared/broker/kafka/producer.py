"""Creates units on Kafka, with a client whose transactional id fences the slot."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kafka import errors

from shared.broker.kafka.client import ANSWER_S, translate_errors
from shared.broker.kafka.topics import KafkaTopics
from shared.broker.kafka.unit import BATCH_BYTES, DELIVERY_TIMEOUT_S, KafkaUnit
from shared.broker.kafka.workarounds import TimeLimitedProducer, force_close
from shared.broker.postgres.unit import PostgresUnit
from shared.broker.record_size import TOPIC_LIMIT_BYTES
from shared.errors import BrokerError, Fenced

# Longer than a killed broker needs to restart, plus the age of a transaction. A transaction that expires within that
# window may count as aborted without its markers, and its records become visible later (docs/promises.md).
TRANSACTION_TIMEOUT_S = 60
BLOCKED_TIMEOUT_S = 10
# The library sleeps this long if a transaction closely follows another one, which is the case for all under load.
_RETRY_PAUSE_MS = 5


class KafkaProducer:
    """Creates units, one at a time. Creating another producer for the slot fences this one and ends its open unit.

    After a failed unit it creates no more units, because the library keeps parts of a failed transaction for the next.
    """

    def __init__(
        self, settings: Mapping[str, Any], topics: KafkaTopics, transactional_id: str, answer_s: float = ANSWER_S
    ) -> None:
        self._topics = topics
        self._is_closed = False
        with translate_errors(f"producer {transactional_id!r}"):
            self._client = TimeLimitedProducer(
                answer_s,
                **settings,
                transactional_id=transactional_id,
                transaction_timeout_ms=TRANSACTION_TIMEOUT_S * 1000,
                delivery_timeout_ms=DELIVERY_TIMEOUT_S * 1000,
                max_block_ms=BLOCKED_TIMEOUT_S * 1000,
                retry_backoff_ms=_RETRY_PAUSE_MS,
                linger_ms=5,
                batch_size=BATCH_BYTES,
                max_request_size=TOPIC_LIMIT_BYTES,
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
        if self._is_closed:
            raise Fenced("a unit of this producer failed: create another producer, then reload the consumer")
        return KafkaUnit(self._client, self._topics, self.close)

    def db_unit(self) -> PostgresUnit:
        raise BrokerError("this producer writes to Kafka: create one with in_database=True for database units")

    def verify(self) -> None:
        """Does nothing: Kafka acknowledges what is replicated."""

    def close(self) -> None:
        """Close without waiting: committed units are sent, and nothing else must be sent."""
        self._is_closed = True
        with suppress(errors.KafkaError):
            self._client.close(timeout=0)
        force_close(self._client)
