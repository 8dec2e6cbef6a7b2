"""Positions of groups on Kafka whose rows lie in PostgreSQL: there, beside the rows, and advanced with them.

They are the embedded log's own rows (broker.positions), of topics named `kafka:...`, so that the unit, its fence and
its tests are the same on both brokers. The group on Kafka only says who works on what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kafka.structs import ConsumerGroupMetadata

from shared.broker.contract import Ownership, TopicPartition
from shared.broker.kafka_consumer import Begins
from shared.broker.postgres_group import positions_of
from shared.broker.postgres_link import Link
from shared.broker.postgres_log import LOCAL, Topics
from shared.broker.postgres_unit import Lease, Leases


class DatabasePositions:
    """What one member of a group holds."""

    def __init__(self, conninfo: str, group: str, begins: Begins) -> None:
        self._group = group
        self._begins = begins
        self._topics = Topics(LOCAL)
        self._link = Link(conninfo, f"{group} positions", autocommit=True)
        self._held: dict[TopicPartition, Lease] = {}

    def take(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """A higher epoch fences whoever still thinks a partition is theirs. The row's lock waits for a unit of theirs
        that is just committing, so the position that is read is final."""
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

    def token(self, group: ConsumerGroupMetadata) -> Ownership:  # noqa: ARG002  # the epochs say it all
        return Leases(self._group, dict(self._held))

    def close(self) -> None:
        self._link.drop()
