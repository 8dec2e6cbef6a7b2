"""Describes the logs of Kafka's partitions: the topic's id, the begin and end offsets, and where leader epochs end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeVar

from kafka import KafkaAdminClient
from kafka import TopicPartition as ClientPartition
from kafka.admin import OffsetSpec

from shared.broker.contract import TopicPartition
from shared.broker.kafka.topics import KafkaTopics
from shared.broker.kafka.workarounds import epoch_ends
from shared.broker.losses import PartitionLog

R = TypeVar("R")


class WhenReady(Protocol):
    """Calls a request again while the cluster is not ready. `action` begins the message of an error."""

    def __call__(self, action: str, request: Callable[[], R]) -> R: ...


class KafkaLogs:
    def __init__(self, admin: KafkaAdminClient, topics: KafkaTopics, when_ready: WhenReady) -> None:
        self._admin = admin
        self._topics = topics
        self._when_ready = when_ready

    def describe(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, PartitionLog]:
        """As they are now. The end counts records of open transactions too: a position is never behind it."""
        if not tps:
            return {}
        ids = self._topics.current_ids({tp.topic for tp in tps})
        begins, ends = self._offsets(tps, OffsetSpec.EARLIEST), self._offsets(tps, OffsetSpec.LATEST)
        return {tp: PartitionLog(ids[tp.topic], begins[tp], ends[tp]) for tp in tps}

    def epoch_ends(self, epochs: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Where each leader epoch ends in its log; -1 if the log does not know the epoch."""
        if not epochs:
            return {}
        wanted = {ClientPartition(*tp): epoch for tp, epoch in epochs.items()}
        ends = self._when_ready("asking for the ends of leader epochs", lambda: epoch_ends(self._admin, wanted))
        return {TopicPartition(*tp): end for tp, end in ends.items()}

    def _offsets(self, tps: Collection[TopicPartition], spec: OffsetSpec) -> dict[TopicPartition, int]:
        specs = {ClientPartition(*tp): spec for tp in tps}
        offsets = self._when_ready("listing offsets", lambda: self._admin.list_partition_offsets(specs))
        return {TopicPartition(*tp): at.offset for tp, at in offsets.items()}
