"""Stores the positions of a Kafka group: in the group's own offsets, or in PostgreSQL beside the rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from kafka.structs import ConsumerGroupMetadata

from shared.broker.contract import Ownership, TopicPartition
from shared.broker.kafka.unit import HeldPartition, Membership
from shared.broker.postgres.group import positions_of
from shared.broker.postgres.log import LOCAL_PREFIX, PostgresTopics
from shared.broker.postgres.unit import Lease, Leases
from shared.database.connection import ReconnectingConnection

BeginOffsets = Callable[[Collection[TopicPartition]], dict[TopicPartition, int]]


class PositionStore(Protocol):
    """The storage of a group's positions."""

    def acquire(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Make this member the only owner of the partitions; returns the positions to continue from."""
        ...

    def release(self, tps: Collection[TopicPartition]) -> None:
        """Give up the ownership of the partitions."""
        ...

    def token(self, group: ConsumerGroupMetadata) -> Ownership: ...

    def close(self) -> None: ...


class GroupPositions:
    """Positions in the group's own offsets, advanced by Kafka transactions."""

    def __init__(self, committed: Callable[[TopicPartition], int | None], begin_offsets: BeginOffsets) -> None:
        self._committed = committed
        self._begin_offsets = begin_offsets
        self._held: dict[TopicPartition, HeldPartition] = {}

    def acquire(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Waits for transactions that are being completed, so that the positions include what they advance."""
        self.release(tps)
        self._held.update({tp: HeldPartition() for tp in tps})
        offsets = {tp: self._committed(tp) for tp in tps}
        begins = self._begin_offsets([tp for tp, offset in offsets.items() if offset is None])
        return begins | {tp: offset for tp, offset in offsets.items() if offset is not None}

    def release(self, tps: Collection[TopicPartition]) -> None:
        for tp in tps:
            if holding := self._held.pop(tp, None):
                holding.valid = False

    def token(self, group: ConsumerGroupMetadata) -> Ownership:
        return Membership(group, dict(self._held))

    def close(self) -> None:
        self.release(list(self._held))


class DatabasePositions:
    """Positions in PostgreSQL, advanced together with rows. The group on Kafka only distributes the partitions.

    They are stored in the embedded log's table broker.positions, for topics named `kafka:...`, so that the unit, its
    fence and its tests are the same on both brokers.
    """

    def __init__(self, conninfo: str, group: str, begin_offsets: BeginOffsets) -> None:
        self._group = group
        self._begin_offsets = begin_offsets
        self._topics = PostgresTopics(LOCAL_PREFIX)
        self._link = ReconnectingConnection(conninfo, f"{group} positions", autocommit=True)
        self._held: dict[TopicPartition, Lease] = {}

    def acquire(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Raises the epochs, which fences the previous owners. The update waits for a commit of a previous owner that
        is in progress, so the position that is read is final."""
        begins = self._begin_offsets(tps)
        leases = {}
        with self._link.use() as connection:
            for tp in sorted(tps):
                row = connection.execute(
                    "INSERT INTO broker.positions (grp, topic_id, p, next_off, epoch) VALUES (%s, %s, %s, %s, 1)"
                    " ON CONFLICT (grp, topic_id, p) DO UPDATE SET epoch = positions.epoch + 1"
                    " RETURNING epoch, next_off",
                    (self._group, self._topics.get(connection, tp.topic).id, tp.partition, begins[tp]),
                ).fetchone()
                assert row is not None  # noqa: S101  # RETURNING of an upsert always gives the row
                leases[tp] = Lease(*row)
        self._held |= leases
        return positions_of(leases)

    def release(self, tps: Collection[TopicPartition]) -> None:
        for tp in tps:
            self._held.pop(tp, None)

    def token(self, group: ConsumerGroupMetadata) -> Ownership:  # noqa: ARG002  # the epochs prove the ownership
        return Leases(self._group, dict(self._held))

    def close(self) -> None:
        self._link.drop()
