"""Stores the positions of a Kafka group: in the group's own offsets, or in PostgreSQL beside the rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from kafka.structs import ConsumerGroupMetadata

from shared.broker.contract import Ownership, TopicPartition
from shared.broker.kafka.unit import Holding, Membership
from shared.broker.postgres.group import positions_of
from shared.broker.postgres.log import LOCAL, Topics
from shared.broker.postgres.unit import Lease, Leases
from shared.database.connection import Link

Begins = Callable[[Collection[TopicPartition]], dict[TopicPartition, int]]


class Positions(Protocol):
    """The storage of a group's positions."""

    def take(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Make this member the only owner of the partitions; returns the positions to continue from."""
        ...

    def drop(self, tps: Collection[TopicPartition]) -> None:
        """Give up the ownership of the partitions."""
        ...

    def token(self, group: ConsumerGroupMetadata) -> Ownership: ...

    def close(self) -> None: ...


class GroupPositions:
    """Positions in the group's own offsets, advanced by Kafka transactions."""

    def __init__(self, committed: Callable[[TopicPartition], int | None], begins: Begins) -> None:
        self._committed = committed
        self._begins = begins
        self._held: dict[TopicPartition, Holding] = {}

    def take(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Waits for transactions that are being completed, so that the positions include what they advance."""
        self.drop(tps)
        self._held.update({tp: Holding() for tp in tps})
        found = {tp: self._committed(tp) for tp in tps}
        begins = self._begins([tp for tp, offset in found.items() if offset is None])
        return begins | {tp: offset for tp, offset in found.items() if offset is not None}

    def drop(self, tps: Collection[TopicPartition]) -> None:
        for tp in tps:
            if holding := self._held.pop(tp, None):
                holding.valid = False

    def token(self, group: ConsumerGroupMetadata) -> Ownership:
        return Membership(group, dict(self._held))

    def close(self) -> None:
        self.drop(list(self._held))


class DatabasePositions:
    """Positions in PostgreSQL, advanced together with rows. The group on Kafka only distributes the partitions.

    They are stored in the embedded log's table broker.positions, for topics named `kafka:...`, so that the unit, its
    fence and its tests are the same on both brokers.
    """

    def __init__(self, conninfo: str, group: str, begins: Begins) -> None:
        self._group = group
        self._begins = begins
        self._topics = Topics(LOCAL)
        self._link = Link(conninfo, f"{group} positions", autocommit=True)
        self._held: dict[TopicPartition, Lease] = {}

    def take(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Raises the epochs, which fences the previous owners. The update waits for a commit of a previous owner that
        is in progress, so the position that is read is final."""
        begins = self._begins(tps)
        taken = {}
        with self._link.use() as connection:
            for tp in sorted(tps):
                found = connection.execute(
                    "INSERT INTO broker.positions (grp, topic_id, p, next_off, epoch) VALUES (%s, %s, %s, %s, 1)"
                    " ON CONFLICT (grp, topic_id, p) DO UPDATE SET epoch = positions.epoch + 1"
                    " RETURNING epoch, next_off",
                    (self._group, self._topics.get(connection, tp.topic).id, tp.partition, begins[tp]),
                ).fetchone()
                assert found is not None  # noqa: S101  # RETURNING of an upsert always gives the row
                taken[tp] = Lease(*found)
        self._held |= taken
        return positions_of(taken)

    def drop(self, tps: Collection[TopicPartition]) -> None:
        for tp in tps:
            self._held.pop(tp, None)

    def token(self, group: ConsumerGroupMetadata) -> Ownership:  # noqa: ARG002  # the epochs prove the ownership
        return Leases(self._group, dict(self._held))

    def close(self) -> None:
        self._link.drop()
