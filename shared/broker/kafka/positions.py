"""Stores the positions of a Kafka group: in the group's own offsets, or in PostgreSQL beside the rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol
from uuid import UUID

from kafka import OffsetAndMetadata
from kafka.structs import ConsumerGroupMetadata

from shared.broker.contract import Loss, Ownership, TopicPartition
from shared.broker.kafka.checkpoints import Checkpoint, Checkpoints
from shared.broker.kafka.logs import KafkaLogs
from shared.broker.kafka.unit import HeldPartition, Membership, topic_id_of
from shared.broker.losses import KnownPosition, PartitionLog, find_loss
from shared.broker.postgres.group import require_not_earlier
from shared.broker.postgres.log import LOCAL_PREFIX, PostgresTopics
from shared.broker.postgres.losses import settle
from shared.broker.postgres.unit import Lease, Leases
from shared.database.connection import TIMEOUTS, DbConnection, ReconnectingConnection
from shared.errors import TransientError

# How often positions in Kafka are noted in PostgreSQL, and how often positions in PostgreSQL are compared with what
# was committed.
CHECKPOINT_EVERY_S = 10.0
VERIFY_EVERY_S = 1.0


class Acquired(NamedTuple):
    """The positions to continue from, the topics' ids, and what is lost of the other partitions."""

    positions: dict[TopicPartition, int]
    topic_ids: dict[str, UUID]
    losses: dict[TopicPartition, Loss]


class PositionStore(Protocol):
    """The storage of a group's positions."""

    def acquire(self, tps: Collection[TopicPartition]) -> Acquired:
        """Make this member the only owner of the partitions."""
        ...

    def release(self, tps: Collection[TopicPartition]) -> None:
        """Give up the ownership of the partitions."""
        ...

    def record_epochs(self, epochs: Mapping[TopicPartition, int]) -> None:
        """The leader epochs of the last polled records. They are stored with the positions after them."""
        ...

    def token(self, group: ConsumerGroupMetadata) -> Ownership: ...

    def close(self) -> None: ...


class GroupPositions:
    """Positions in the group's own offsets, advanced by Kafka transactions."""

    def __init__(
        self,
        group: str,
        committed: Callable[[TopicPartition], OffsetAndMetadata | None],
        logs: KafkaLogs,
        checkpoints: Checkpoints,
    ) -> None:
        """`group`: the name of the service, for messages."""
        self._group = group
        self._committed = committed
        self._logs = logs
        self._checkpoints = checkpoints
        self._held: dict[TopicPartition, HeldPartition] = {}
        self._lost: frozenset[TopicPartition] = frozenset()
        self._written: dict[TopicPartition, Checkpoint] = {}
        self._write_at_s = 0.0

    def acquire(self, tps: Collection[TopicPartition]) -> Acquired:
        """Waits for transactions that are being completed, so that the positions include what they advance."""
        self.release(tps)
        offsets = {tp: self._committed(tp) for tp in tps}
        known = {tp: _known_position(offset) for tp, offset in offsets.items() if offset is not None}
        for tp, checkpoint in self._checkpoints.read([tp for tp in tps if tp not in known]).items():
            known[tp] = KnownPosition(checkpoint.offset, checkpoint.kafka_id, None, is_forgotten=True)
        logs = _with_epoch_ends(self._logs, self._logs.describe(tps), known)
        losses = _losses(self._group, known, logs)
        accepted, waiting = self._checkpoints.settle(losses, (self._lost & set(tps)) - losses.keys())
        self._lost = (self._lost - set(tps)) | waiting.keys()
        positions = {
            tp: accepted[tp].continue_at if tp in accepted else known[tp].offset if tp in known else logs[tp].begin
            for tp in tps
            if tp not in waiting
        }
        for tp, offset in positions.items():
            has_committed = offsets[tp] is not None and tp not in accepted
            self._held[tp] = HeldPartition(logs[tp].kafka_id, offset if has_committed else None)
        return Acquired(positions, {tp.topic: logs[tp].kafka_id for tp in tps}, waiting)

    def release(self, tps: Collection[TopicPartition]) -> None:
        if self._held.keys() & set(tps):
            self._write_checkpoints()
        for tp in tps:
            if holding := self._held.pop(tp, None):
                holding.valid = False

    def record_epochs(self, epochs: Mapping[TopicPartition, int]) -> None:
        for tp, epoch in epochs.items():
            self._held[tp].leader_epoch = epoch

    def token(self, group: ConsumerGroupMetadata) -> Ownership:
        if time.monotonic() >= self._write_at_s:
            self._write_checkpoints()
        return Membership(group, dict(self._held))

    def close(self) -> None:
        self.release(list(self._held))
        self._checkpoints.close()

    def _write_checkpoints(self) -> None:
        self._write_at_s = time.monotonic() + CHECKPOINT_EVERY_S
        committed = {
            tp: Checkpoint(held.committed, held.kafka_id)
            for tp, held in self._held.items()
            if held.committed is not None
        }
        changed = {tp: each for tp, each in committed.items() if self._written.get(tp) != each}
        if self._checkpoints.write(changed):
            self._written |= changed


class DatabasePositions:
    """Positions in PostgreSQL, advanced together with rows. The group on Kafka only distributes the partitions.

    They are stored in the embedded log's table broker.positions, for topics named `kafka:...`, so that the unit, its
    fence and its tests are the same on both brokers.
    """

    def __init__(self, conninfo: str, group: str, logs: KafkaLogs, answer_s: float = TIMEOUTS.answer_s) -> None:
        self._group = group
        self._logs = logs
        self._topics = PostgresTopics(LOCAL_PREFIX)
        self._link = ReconnectingConnection(conninfo, f"{group} positions", autocommit=True, answer_s=answer_s)
        self._held: dict[TopicPartition, Lease] = {}
        self._verified_at_s = 0.0

    def acquire(self, tps: Collection[TopicPartition]) -> Acquired:
        """Raises the epochs, which fences the previous owners. The update waits for a commit of a previous owner that
        is in progress, so the position that is read is final."""
        logs = self._logs.describe(tps)
        with self._link.use() as connection:
            leases, known = self._raise_epochs(connection, logs)
            logs = _with_epoch_ends(self._logs, logs, known)
            losses = _losses(self._group, known, logs)
            with connection.transaction():
                accepted, waiting = settle(connection, self._group, losses, set(tps) - losses.keys())
                for tp, loss in accepted.items():
                    self._move(connection, tp, leases[tp], loss)
        positions = {tp: lease.committed for tp, lease in leases.items() if tp not in waiting}
        self._held |= {tp: leases[tp] for tp in positions}
        for tp in waiting:
            self._held.pop(tp, None)
        return Acquired(positions, {tp.topic: logs[tp].kafka_id for tp in tps}, waiting)

    def release(self, tps: Collection[TopicPartition]) -> None:
        for tp in tps:
            self._held.pop(tp, None)

    def record_epochs(self, epochs: Mapping[TopicPartition, int]) -> None:
        for tp, epoch in epochs.items():
            self._held[tp].leader_epoch = epoch

    def token(self, group: ConsumerGroupMetadata) -> Ownership:  # noqa: ARG002  # the epochs prove the ownership
        """Raises WentBack if the database was restored or failed over to an earlier state."""
        if time.monotonic() >= self._verified_at_s + VERIFY_EVERY_S:
            self._verified_at_s = time.monotonic()
            self._verify()
        return Leases(self._group, dict(self._held))

    def close(self) -> None:
        self._link.drop()

    def _raise_epochs(
        self, connection: DbConnection, logs: Mapping[TopicPartition, PartitionLog]
    ) -> tuple[dict[TopicPartition, Lease], dict[TopicPartition, KnownPosition]]:
        leases, known = {}, {}
        for tp in sorted(logs):
            row = connection.execute(
                "INSERT INTO broker.positions (grp, topic_id, p, next_off, epoch, kafka_id) VALUES (%s, %s, %s, %s, 1,"
                " %s) ON CONFLICT (grp, topic_id, p) DO UPDATE SET epoch = positions.epoch + 1,"
                " kafka_id = coalesce(positions.kafka_id, excluded.kafka_id)"
                " RETURNING epoch, next_off, kafka_id, leader_epoch",
                (
                    self._group, self._topics.get(connection, tp.topic).id, tp.partition, logs[tp].begin,
                    logs[tp].kafka_id,
                ),
            ).fetchone()  # fmt: skip
            assert row is not None  # noqa: S101  # RETURNING of an upsert always gives the row
            epoch, offset, kafka_id, leader_epoch = row
            leases[tp] = Lease(epoch, offset)
            known[tp] = KnownPosition(offset, kafka_id, leader_epoch)
        return leases, known

    def _move(self, connection: DbConnection, tp: TopicPartition, lease: Lease, loss: Loss) -> None:
        """Continue behind an accepted loss, unless another member has taken the partition meanwhile."""
        connection.execute(
            "UPDATE broker.positions SET next_off = %s, kafka_id = %s, leader_epoch = NULL"
            " WHERE grp = %s AND topic_id = %s AND p = %s AND epoch = %s",
            (
                loss.continue_at, loss.kafka_id, self._group, self._topics.get(connection, tp.topic).id, tp.partition,
                lease.epoch,
            ),
        )  # fmt: skip
        lease.committed = loss.continue_at

    def _verify(self) -> None:
        committed = {tp: (lease.epoch, lease.committed) for tp, lease in self._held.items()}
        try:
            with self._link.use() as connection:
                rows = connection.execute(
                    "SELECT t.name, pos.p, pos.epoch, pos.next_off FROM broker.positions pos"
                    " JOIN broker.topics t ON t.id = pos.topic_id WHERE pos.grp = %s",
                    (self._group,),
                ).fetchall()
        except TransientError:
            return  # the next unit meets the same error and reports it
        stored = {
            TopicPartition(name.removeprefix(LOCAL_PREFIX), p): (epoch, offset) for name, p, epoch, offset in rows
        }
        require_not_earlier(stored, committed)


def _known_position(offset: OffsetAndMetadata) -> KnownPosition:
    epoch = offset.leader_epoch
    return KnownPosition(offset.offset, topic_id_of(offset.metadata), None if epoch is None or epoch < 0 else epoch)


def _with_epoch_ends(
    kafka_logs: KafkaLogs, logs: Mapping[TopicPartition, PartitionLog], known: Mapping[TopicPartition, KnownPosition]
) -> dict[TopicPartition, PartitionLog]:
    epochs = {
        tp: each.leader_epoch
        for tp, each in known.items()
        if each.leader_epoch is not None and each.kafka_id == logs[tp].kafka_id
    }
    ends = kafka_logs.epoch_ends(epochs)
    return {tp: log._replace(epoch_end=ends.get(tp)) for tp, log in logs.items()}


def _losses(
    group: str, known: Mapping[TopicPartition, KnownPosition], logs: Mapping[TopicPartition, PartitionLog]
) -> dict[TopicPartition, Loss]:
    losses = {tp: find_loss(group, tp, position, logs[tp]) for tp, position in known.items()}
    return {tp: loss for tp, loss in losses.items() if loss is not None}
